"""Runs against a scripted server: good, rule-breaking, malformed, slow and absent answers, kills, costs and bags."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from vision_server import (
    CAPTION,
    NAMING,
    PROMPT_TOKENS,
    TOKENS,
    Refuse,
    good,
    images_of,
    said,
    serving,
    sleep,
    write_coco,
)

from reasonseg_ros.cli import main
from reasonseg_ros.data_engine.records import add_decision, read_questions_file
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.training.mask_targets import object_masks

KEY = "sk-0123456789abcdef"


@pytest.fixture(autouse=True)
def _without_proxies(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def coco(tmp_path):
    return write_coco(tmp_path / "coco", pictures=1)


def command(coco, server, *more):
    out = coco.parent.parent / "out"
    words = ["data", "from-coco", str(coco), "--images", str(coco.parent), "--out", str(out)]
    return [*words, "--url", server.url, "--model", "tester", "--at-once", "1", *more]


def asked_for(words):
    """How many questions a request asks for; 0 for a caption."""
    return int(words.split("\nWrite ")[1].split()[0]) if "\nWrite " in words else 0


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def reasons(out):
    return {line["text"]: "; ".join(line["reasons"]) for line in lines(out / "rejected.jsonl")}


def test_good_answers_become_a_bag_that_is_read_back(coco, tmp_path, capsys):
    with serving(good) as server:
        assert main(command(coco, server, "--splits", "train=1", "--price-in", "2", "--price-out", "10")) == 0
    printed = capsys.readouterr().out
    assert "questions: 5 kept (5 train)" in printed
    assert f"tokens: {2 * PROMPT_TOKENS} in prompts, {2 * TOKENS} in replies; cost 0.0050" in printed
    assert [images_of(request) for request in server.requests] == [1, 2]  # the caption needs no numbers
    assert [request["model"] for request in server.requests] == ["tester", "tester"]
    clips = list(read_clips(tmp_path / "out/bags/train"))
    assert [clip.question for clip in clips][2] == "What helps to stir sugar into a drink?"
    sample = clips[2].frames[0]
    spoons = object_masks(sample.truth)
    assert (sample.kind, sample.split, sample.is_sentence) == ("simple", "train", True)
    assert sample.truth.thought == "It is made for that."
    # The two spoons of 12 and 10 pixels, not the book of 40 or the cup of 24; fills of polygons hold their outline.
    assert [int(mask.sum()) for mask in spoons] == pytest.approx([144, 100], rel=0.3)
    assert all(mask[int(y), int(x)] for mask, (x, y) in zip(spoons, sample.truth.points_xy, strict=True))


def test_what_breaks_a_rule_is_asked_again_with_the_reasons(coco, tmp_path):
    def replying(words, server):
        if not asked_for(words):
            return CAPTION
        if "refused" not in words:
            return said(
                ("Which mug is the red one?", [2]),
                ("What lies on the left side?", [1]),
                ("What is not even there at all?", [7]),
                ("What could somebody read on a long journey?", [1]),
                ("On a long journey, what could somebody read?", [1]),
            )
        return good(words, server)

    with serving(replying) as server:
        assert main(command(coco, server)) == 0
    again = server.words[2]
    assert asked_for(again) == 4
    assert "Which mug is the red one?: it says 'mug', which names a listed object" in again
    assert "What lies on the left side?: it says 'left', which is a place" in again
    assert "object 7 is not in the list; the numbers go from 1 to 4" in again
    assert "nearly the same as 'What could somebody read on a long journey?'" in again
    assert "- What could somebody read on a long journey? (objects 1)" in again
    kept = [one.question for one in read_questions_file(tmp_path / "out")]
    assert len(kept) == len(set(kept)) == 5
    assert "Which mug is the red one?" not in kept


def test_what_stays_wrong_is_dropped_with_its_reason(coco, tmp_path, capsys):
    def replying(words, _):
        return said(("Which cup is it here?", [2])) if asked_for(words) else CAPTION

    with serving(replying) as server:
        assert main(command(coco, server, "--tries", "2")) == 1
    assert [asked_for(words) for words in server.words] == [0, 5, 5]
    found = reasons(tmp_path / "out")
    assert "names a listed object" in found["Which cup is it here?"]
    assert found[""] == "no question of it is left"
    assert "no question is left" in capsys.readouterr().err
    assert not (tmp_path / "out/bags").exists()


def test_malformed_answers_are_asked_again_and_bounded(coco, tmp_path):
    replies = iter(
        ["no picture, sorry", CAPTION, '{"questions": [', "[1, 2", said(("What could somebody read here?", [1]))]
    )
    with serving(lambda *_: next(replies)) as server:
        assert main(command(coco, server)) == 0
    assert [asked_for(words) for words in server.words] == [0, 0, 5, 5, 5]
    assert "no JSON object with a caption" in reasons(tmp_path / "out")["no picture, sorry"]
    assert "no JSON list of questions" in server.words[-1]
    assert len(read_questions_file(tmp_path / "out")) == 1


def test_three_questions_with_one_answer_are_one_too_many(coco, tmp_path):
    questions = ("What could somebody read here?", "Which thing has many thin sheets?", "What tells a long story?")

    def replying(words, _):
        return said(*((question, [1]) for question in questions)) if asked_for(words) else CAPTION

    with serving(replying) as server:
        assert main(command(coco, server, "--tries", "1")) == 0
    assert [one.question for one in read_questions_file(tmp_path / "out")] == list(questions[:2])
    assert "2 questions have the answer 1 already" in reasons(tmp_path / "out")[questions[2]]


def test_a_slow_answer_counts_as_a_try_and_costs_no_picture(coco, tmp_path):
    slow = []

    def replying(words, server):
        if asked_for(words) and not slow:
            slow.append(words)
            sleep(server, 20)
        return good(words, server)

    with serving(replying) as server:
        assert main(command(coco, server, "--time-limit", "1")) == 0
    assert len(server.requests) == 3
    assert len(read_questions_file(tmp_path / "out")) == 5
    assert "no answer within 1 s" in reasons(tmp_path / "out")[""]


def test_a_server_that_is_away_ends_the_run_and_the_next_one_goes_on(tmp_path, capsys):
    coco = write_coco(tmp_path / "coco", pictures=6)

    def away(words, server):
        if len(server.requests) > 2:
            raise Refuse("404")
        return good(words, server)

    with serving(away) as server:
        assert main(command(coco, server, "--repeats", "9")) == 2
    error = capsys.readouterr().err
    assert "3 pictures in a row got no reply" in error
    assert "HTTP 404: not now" in error
    assert "run the same command again to go on" in error
    assert len(read_questions_file(tmp_path / "out")) == 5
    with serving(good) as server:
        assert main(command(coco, server, "--repeats", "9")) == 0
    assert len(server.requests) == 10
    assert "replies: 10 asked for, 2 taken over" in capsys.readouterr().out
    assert len(read_questions_file(tmp_path / "out")) == 30


def test_the_same_question_about_other_pictures_is_dropped(tmp_path):
    coco = write_coco(tmp_path / "coco", pictures=3)
    with serving(good) as server:
        main(command(coco, server))
    assert len(read_questions_file(tmp_path / "out")) == 5
    assert (
        "1 other pictures are asked the same"
        in reasons(tmp_path / "out")["What could somebody read on a long journey?"]
    )


def test_a_second_run_asks_nothing_and_makes_the_same(coco, tmp_path, capsys):
    with serving(good) as server:
        assert main(command(coco, server)) == 0
        before = (tmp_path / "out/questions.jsonl").read_bytes()
        assert main(command(coco, server)) == 0
        assert len(server.requests) == 2
        assert (tmp_path / "out/questions.jsonl").read_bytes() == before
        assert f"tokens: {2 * PROMPT_TOKENS} in prompts" in capsys.readouterr().out
        assert main([*command(coco, server), "--model", "another"]) == 0
        assert len(server.requests) == 4


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "Ctrl-C"])
def test_an_ended_process_goes_on_without_paying_twice(tmp_path, number):
    coco = write_coco(tmp_path / "coco", pictures=4)

    def replying(words, server):
        if len(server.requests) == 6:
            sleep(server, 60)  # the process ends in here
        return good(words, server)

    with serving(replying) as server:
        words = command(coco, server, "--repeats", "9")
        log = tmp_path / "log"
        with log.open("wb") as file:
            process = subprocess.Popen([sys.executable, "-m", "reasonseg_ros.cli", *words], stderr=file, env=os.environ)
        deadline_s = time.monotonic() + 300
        while len(server.requests) < 6 and time.monotonic() < deadline_s and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(60) == (-9 if number == signal.SIGKILL else 130)
        if number == signal.SIGINT:
            assert "reasonseg: interrupted; what is paid for is kept" in log.read_text()
            assert "Traceback" not in log.read_text()
            assert len(read_questions_file(tmp_path / "out")) >= 5
        paid = lines(tmp_path / "out/replies.jsonl")
        assert len(paid) == 5
        with (tmp_path / "out/replies.jsonl").open("ab") as file:
            file.write(b'{"key": "half a li')
        assert main(words) == 0
        assert len(server.requests) == 9  # eight replies, and the one that was under way
    replies = lines(tmp_path / "out/replies.jsonl")
    assert replies[:5] == paid
    assert len(replies) == 8
    assert len(read_questions_file(tmp_path / "out")) == 20


def test_tokens_that_a_server_does_not_count_are_named(coco, capsys):
    with serving(good) as server:
        server.counts = False
        assert main(command(coco, server, "--price-in", "1", "--price-out", "1")) == 0
    assert "cost 0.0000; 2 replies without counts are left out of that" in capsys.readouterr().out


def test_the_key_is_sent_and_written_nowhere(coco, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VISION_KEY", KEY)

    def replying(words, server):
        return said((f"What opens {KEY} quickly?", [1])) if asked_for(words) else CAPTION

    with serving(replying) as server:
        main(command(coco, server, "--key-variable", "VISION_KEY"))
    assert set(server.keys) == {f"Bearer {KEY}"}
    output = capsys.readouterr()
    texts = [path.read_bytes() for path in tmp_path.joinpath("out").rglob("*") if path.is_file()]
    assert not any(KEY.encode() in text for text in [*texts, output.out.encode(), output.err.encode()])
    assert any(b"What opens *** quickly?" in text for text in texts)


def test_dry_run_shows_the_prompts_and_asks_nothing(coco, tmp_path, capsys):
    with serving(good) as server:
        assert main(command(coco, server, "--dry-run", "--questions", "4")) == 0
    printed = capsys.readouterr().out
    assert server.requests == []
    assert not (tmp_path / "out").exists()
    assert "1: book\n2: cup\n3: spoon\n4: spoon" in printed
    assert "Write 4 questions." in printed


def test_masks_of_everything_mode_are_named_by_the_model(tmp_path):
    coco = json.loads(write_coco(tmp_path / "coco", pictures=1).read_text())
    records = [{"segmentation": entry["segmentation"]} for entry in coco["annotations"][:3]]
    whole = [[0, 0, 128, 0, 128, 96, 0, 96]]
    (tmp_path / "coco/0.json").write_text(json.dumps([{"segmentation": whole}, *records, {"segmentation": "?"}]))

    def replying(words, server):
        return good(words, server).replace("[3, 4]", "[3]") if asked_for(words) else NAMING

    with serving(replying) as server:
        out = tmp_path / "out"
        words = ["data", "from-masks", str(tmp_path / "coco"), "--out", str(out), "--url", server.url, "--model", "m"]
        assert main(words) == 0
    assert "Give each of these numbers the name\nthat a person would use" in server.words[0]
    assert images_of(server.requests[0]) == 2
    assert "1: book\n2: cup\n3: spoon" in server.words[1]
    assert "mask 5: it has no segmentation" in reasons(out)[""]


def test_a_bag_is_a_source_too(coco, tmp_path):
    with serving(good) as server:
        assert main(command(coco, server, "--splits", "train=1")) == 0
    with serving(
        lambda words, server: (
            good(words, server) if asked_for(words) else NAMING.replace('spoon"}', 'spoon", "4": "spoon"}')
        )
    ) as server:
        words = [
            "data",
            "from-bag",
            str(tmp_path / "out/bags/train"),
            "--out",
            str(tmp_path / "again"),
            "--splits",
            "val=1",
        ]
        assert main([*words, "--url", server.url, "--model", "m"]) == 0
    first, second = (read_questions_file(tmp_path / name) for name in ("out", "again"))
    assert [[t.mask for t in one.targets] for one in first] == [[t.mask for t in one.targets] for one in second]


def test_only_accepted_questions_are_written_once_somebody_has_decided(coco, tmp_path, capsys):
    out = tmp_path / "out"
    with serving(good) as server:
        assert main(command(coco, server, "--splits", "train=1")) == 0
    ids = [one.id for one in read_questions_file(out)]
    add_decision(out, ids[0], True)
    add_decision(out, ids[1], True)
    add_decision(out, ids[2], False)
    add_decision(out, ids[1], None)
    assert main(["data", "bags", str(out)]) == 0
    assert "1 questions about 1 pictures" in capsys.readouterr().out
    assert [clip.expression for clip in read_clips(out / "bags/train")] == ids[:1]
    add_decision(out, ids[0], False)
    assert main(["data", "bags", str(out)]) == 2
    assert "no question in" in capsys.readouterr().err


def test_pictures_with_too_few_categories_cost_nothing(coco, tmp_path):
    with serving(good) as server:
        main(command(coco, server, "--categories", "4"))
    assert server.requests == []
    assert "4 objects of 3 categories; expected 4" in reasons(tmp_path / "out")[""]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--splits", "train=0.5"], "add up to 0.5; expected 1"),
        (["--splits", "../x=1"], "expected NAME=SHARE"),
        (["--price-in", "1"], "one price only"),
        (["--words", "9", "3"], "questions of 9 to 3 words"),
        (["--url", ""], "no server; give its address with --url"),
        (["--model", ""], "no model"),
        (["--key-variable", "NOT_SET_AT_ALL"], "NOT_SET_AT_ALL"),
        (["--at-once", "99"], "99 pictures at once"),
    ],
)
def test_wrong_settings_are_named_before_anything_is_asked(coco, capsys, more, message):
    with serving(good) as server:
        assert main(command(coco, server, *more)) == 2
    assert server.requests == []
    assert message in capsys.readouterr().err
