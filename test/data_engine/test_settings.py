"""Settings, sources and costs of a run."""

import json

import pytest
from engine_runs import asked_for, command, reasons
from vision_server import (
    CAPTION,
    NAMING,
    good,
    images_of,
    said,
    serving,
    write_coco,
)

from reasonseg_ros.cli import main
from reasonseg_ros.data_engine.records import read_questions_file

KEY = "sk-0123456789abcdef"


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


def test_pictures_with_too_few_categories_cost_nothing(coco, tmp_path):
    with serving(good) as server:
        main(command(coco, server, "--categories", "4"))
    assert server.requests == []
    assert "4 objects of 3 categories; expected 4" in reasons(tmp_path / "out")[""]


@pytest.mark.parametrize(
    ("option", "message"), [("--url", "no server; give its address"), ("--model", "no model; give")]
)
def test_a_run_needs_a_server_and_a_model(coco, capsys, option, message):
    with serving(good) as server:
        words = command(coco, server)
        place = words.index(option)
        assert main([*words[:place], *words[place + 2 :]]) == 2
    assert server.requests == []
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--splits", "train=0.5"], "add up to 0.5; expected 1"),
        (["--splits", "../x=1"], "expected NAME=SHARE"),
        (["--price-in", "1"], "one price only"),
        (["--words", "9", "3"], "questions of 9 to 3 words"),
        (["--url", ""], "--url is given an empty value"),
        (["--model", ""], "--model is given an empty value"),
        (["--key-variable", "NOT_SET_AT_ALL"], "NOT_SET_AT_ALL"),
        (["--at-once", "99"], "99 pictures at once"),
    ],
)
def test_wrong_settings_are_named_before_anything_is_asked(coco, capsys, more, message):
    with serving(good) as server:
        assert main(command(coco, server, *more)) == 2
    assert server.requests == []
    assert message in capsys.readouterr().err
