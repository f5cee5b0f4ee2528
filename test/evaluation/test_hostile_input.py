"""Names, texts and files that were made to do harm: nothing is executed, written elsewhere, or ends in a traceback."""

import html.parser
import json
import os
import shutil
import signal
import subprocess
import sys
import zlib

import numpy as np
import pytest

from reasonseg_ros import cli
from reasonseg_ros.bags import mask_message
from reasonseg_ros.evaluation.result_lines import Results

BOX = (8, 8, 24, 24)
SCRIPT = '"><img src=x onerror=alert(1)></script><script>alert(2)</script>'
NAMES = [
    "../../../tmp/escaped", "/etc/escaped", "a/../../escaped", "n" * 5000, "nul\0byte", "\x1b[2J\x1b]0;title\x07",
    "[/]", "[bold]x[/bold]", SCRIPT, "{{ 7 * 7 }}", "${jndi:x}", "con", ".", "..", "\u202etxt", "\ud55c\uae00", "",
]  # fmt: skip


@pytest.fixture
def method(scripted, answer_text, monkeypatch):
    method = scripted(answer_text(BOX))
    monkeypatch.setattr("reasonseg_ros.methods.loading.load_method", lambda config, **_: method)
    return method


class Elements(html.parser.HTMLParser):
    """Names of all elements of a page, and of their attributes that run something."""

    def __init__(self, text):
        super().__init__()
        self.names, self.handlers = {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.names[tag] = self.names.get(tag, 0) + 1
        self.handlers += [name for name, _ in attributes if name.startswith("on") or name in ("src", "href")]


def files_under(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_names_of_a_bag_are_text_everywhere_and_no_paths(method, make_bag, samples_of, tmp_path, capsys):
    asked = [samples_of(name, kind=name, image=number) for number, name in enumerate(NAMES)]
    asked.append(samples_of("lost", kind="lost", image=len(NAMES)))

    def hurt(messages):
        message = next(m for topic, m, _ in messages if topic.endswith("truth") and m.query_id == "lost")
        object.__setattr__(message, "mask", mask_message(np.ones((3, 3), bool)))
        object.__setattr__(message, "query_id", SCRIPT + "\x1b[31m")
        return messages

    bag = make_bag(asked, change=hurt, name="bag [red]<b>")
    before = files_under(tmp_path)
    out = tmp_path / "out"
    assert cli.main(["evaluate", str(bag), "--out", str(out)]) == 1, "one ground truth is damaged"
    printed = capsys.readouterr()
    assert "\x1b[2J" not in printed.out + printed.err and "Traceback" not in printed.err
    new = files_under(tmp_path) - before
    assert all(name == "out" or name.startswith("out/") for name in new)
    assert {name.rpartition(".")[2] for name in new if "." in name} <= {"json", "jsonl", "html", "jpg"}
    assert len(Results(out)) == len(NAMES)
    assert cli.main(["compare", str(out), str(out), "--report", str(tmp_path / "compared.html")]) in (0, 1)
    for page in (out / "report.html", tmp_path / "compared.html"):
        text = page.read_text(encoding="utf-8")
        elements = Elements(text)
        assert "img" not in elements.names and elements.names["script"] == 3 and not elements.handlers
        assert "49" not in [cell.strip() for cell in text.split("{{ 7 * 7 }}")] and "\0" not in text


def test_pictures_of_a_report_come_from_its_folder_only(method, make_bag, samples_of, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["evaluate", str(make_bag([samples_of("a")])), "--out", str(out)]) == 0
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"\xff\xd8secret")
    results = out / "results.jsonl"
    picture = next(iter(Results(results).values())).image
    other = tmp_path / "copied"
    other.mkdir()
    shutil.copy(out / "settings.json", other)
    for name in ("../secret.jpg", str(secret), "results.jsonl", "x" * 5000, "nul\0"):
        (other / "results.jsonl").write_text(results.read_text().replace(json.dumps(picture), json.dumps(name)))
        page = tmp_path / "page.html"
        assert cli.main(["compare", str(other), str(results), "--report", str(page)]) == 0
        assert "data:image/jpeg;base64," not in page.read_text()


DEEP = "[" * 200_000


def png_of(width, height):
    """A PNG whose header says a size, with a few bytes of data."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


MASKS = {
    "deep.json": DEEP.encode(),
    "nan.json": b'{"size": [2, NaN], "counts": [4]}',
    "huge.json": b'{"size": [4000000000, 4000000000], "counts": [16000000000000000000]}',
    "large.json": b'{"size": [100000, 100000], "counts": [10000000000]}',
    "overflow.json": b'{"size": [2, 2], "counts": [4611686018427387904, 4611686018427387904, 9223372036854775812]}',
    "fractions.json": b'{"size": [2, 2], "counts": [1.5, 2.5]}',
    "twice.json": b'{"size": [2, 2], "counts": [4], "counts": [0, 4]}',
    "digits.json": b'{"size": [2, 2], "counts": [' + b"1" * 10_000 + b"]}",
    "huge.png": png_of(30_000, 30_000),
    "short.png": png_of(10_000, 10_000),
}


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_that_cannot_be_is_one_failed_name(name, tmp_path, capsys):
    for folder in ("said", "true"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "good.json").write_text('{"size": [2, 2], "counts": [1, 3]}')
    stem = name.replace(".", "_")
    (tmp_path / "said" / f"{stem}.{name.rpartition('.')[2]}").write_bytes(MASKS[name])
    (tmp_path / "true" / f"{stem}.json").write_text('{"size": [2, 2], "counts": [0, 4]}')
    arguments = ["score", "--predictions", str(tmp_path / "said"), "--targets", str(tmp_path / "true")]
    assert cli.main(arguments) == 1
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["samples"], found["scored"], found["problems"]["unreadable"]) == (2, 1, 1)
    assert found["giou"] == pytest.approx(0.5, abs=1e-5)
    (line,) = printed.err.strip().splitlines()
    assert stem in line and "counts 0" in line and len(line) < 1200


def test_predictions_in_one_file_keep_every_name(tmp_path, capsys):
    mask = '{"size": [2, 2], "counts": [0, 4]}'
    (tmp_path / "said.json").write_text(f'{{"a": {mask}, "a": null}}')
    (tmp_path / "true.json").write_text(f'{{"a": {mask}}}')
    arguments = ["score", "--predictions", str(tmp_path / "said.json"), "--targets", str(tmp_path / "true.json")]
    assert cli.main(arguments) == cli.USAGE_ERROR
    assert "the key 'a' stands twice" in capsys.readouterr().err


@pytest.fixture
def run_folder(method, make_bag, samples_of, tmp_path):
    out = tmp_path / "run"
    assert cli.main(["evaluate", str(make_bag([samples_of("a"), samples_of("b")])), "--out", str(out)]) == 0
    return out


@pytest.fixture
def other_folder(run_folder, tmp_path):
    """A copy of the run, to be damaged."""
    shutil.copytree(run_folder, tmp_path / "other")
    return tmp_path / "other"


def edited(text, **changes):
    """The text of results.jsonl with values of its first sample replaced."""
    lines = text.splitlines()
    lines[0] = json.dumps({**json.loads(lines[0]), **changes})
    return "\n".join(lines) + "\n"


RESULTS = {
    "deep": lambda text: text.replace('"question": "question a?"', f'"question": {DEEP}'),
    "NaN": lambda text: text.replace('"iou": 1.0', '"iou": NaN').replace('"mask_score": 0.9', '"mask_score": NaN'),
    "a status that is none": lambda text: edited(text, status="splendid"),
    "a number for a text": lambda text: edited(text, question=5),
    "a list for an id": lambda text: edited(text, sample_id=[1]),
    "a size of one number": lambda text: edited(text, size_wh=5),
    "another file": lambda text: '{"run": 5,\n"samples": [\n]}\n',
    "a line that is cut off": lambda text: text[200:],
}


@pytest.mark.parametrize("case", RESULTS)
def test_results_that_cannot_be_are_one_line(case, run_folder, other_folder, tmp_path, capsys):
    other = other_folder / "results.jsonl"
    other.write_text(RESULTS[case](other.read_text()))
    capsys.readouterr()
    for arguments in ([str(other), str(run_folder)], [str(run_folder), str(other_folder)]):
        assert cli.main(["compare", *arguments, "--report", str(tmp_path / "page.html")]) == cli.USAGE_ERROR
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("reasonseg: line 1 of ") and f"{other} is no result" in line
        assert len(line) < 1200 and not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("settings", [f'{{"x": {DEEP}}}', "[]", '{"bag": NaN}', "", None])
def test_a_page_needs_the_settings_of_both_runs(settings, run_folder, other_folder, tmp_path, capsys):
    if settings is None:
        (other_folder / "settings.json").unlink()
    else:
        (other_folder / "settings.json").write_text(settings)
    arguments = ["compare", str(run_folder), str(other_folder)]
    assert cli.main(arguments) == 0, "scores need none"
    capsys.readouterr()
    assert cli.main([*arguments, "--report", str(tmp_path / "page.html")]) == cli.USAGE_ERROR
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "other/settings.json of the run cannot be read" in line and "copy it" in line
    assert len(line) < 1200 and not (tmp_path / "page.html").exists()


def test_a_mask_of_a_huge_size_in_results_is_one_line(run_folder, other_folder, tmp_path, capsys):
    other = other_folder / "results.jsonl"
    huge = {"size": [10**6, 10**6], "counts": [10**12]}
    other.write_text(edited(other.read_text(), mask=huge))
    arguments = ["compare", str(other), str(run_folder), "--report", str(tmp_path / "page.html")]
    assert cli.main(arguments) == cli.USAGE_ERROR
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "mask of 1000000 x 1000000 pixels" in line
    assert not (tmp_path / "page.html").exists() and not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("damage", [DEEP, '{"sample_id": "x"}', "not json", "\0" * 100])
def test_a_damaged_line_in_the_middle_is_told_and_one_at_the_end_is_asked_again(
    damage, method, make_bag, samples_of, tmp_path, capsys
):
    bag, out = make_bag([samples_of(name) for name in "abc"]), tmp_path / "out"
    arguments = ["evaluate", str(bag), "--out", str(out)]
    assert cli.main(arguments) == 0
    lines = (out / "results.jsonl").read_text().splitlines()
    (out / "results.jsonl").write_text("\n".join([lines[0], damage, lines[2]]) + "\n")
    capsys.readouterr()
    assert cli.main([*arguments, "--resume"]) == cli.USAGE_ERROR
    reported = [line for line in capsys.readouterr().err.splitlines() if line.startswith("reasonseg: ")]
    assert len(reported) == 1 and "line 2 of" in reported[0] and "results.jsonl" in reported[0]
    (out / "results.jsonl").write_text("\n".join([lines[0], lines[1], damage]))
    assert cli.main([*arguments, "--resume"]) == 0
    assert len(Results(out)) == 3


@pytest.mark.parametrize("settings", [DEEP, "[]", '{"bag": NaN}', ""])
def test_settings_of_a_run_that_cannot_be_read_are_one_line(settings, run_folder, tmp_path, capsys):
    (run_folder / "settings.json").write_text(settings)
    assert cli.main(["evaluate", str(tmp_path / "bag"), "--out", str(run_folder), "--resume"]) == cli.USAGE_ERROR
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("reasonseg: ")]
    assert "settings.json of the run cannot be read" in line and "choose another --out" in line


TRUTHS = {
    "a box with NaN": {"boxes": [(1.0, float("nan"), 5.0, 5.0)]},
    "an endless box": {"boxes": [(1.0, 1.0, float("inf"), 5.0)]},
    "an empty box": {"boxes": [(5.0, 5.0, 5.0, 9.0)]},
    "a box from right to left": {"boxes": [(9.0, 5.0, 5.0, 9.0)]},
    "a point with NaN": {"points": [(float("nan"), 3.0)]},
}


@pytest.mark.parametrize("case", TRUTHS)
def test_a_ground_truth_that_cannot_be_is_one_failed_sample(case, method, make_bag, samples_of, tmp_path, capsys):
    def change(messages):
        truth = next(m for topic, m, _ in messages if topic.endswith("truth") and m.query_id == "b")
        box = truth.boxes[0]
        for name, values in TRUTHS[case].items():
            if name == "boxes":
                made = [type(box)(**dict(zip(("x1", "y1", "x2", "y2"), value, strict=True))) for value in values]
            else:
                from reasonseg_ros.bags import typestore

                made = [typestore().types["reasonseg_ros/msg/Point2D"](*value) for value in values]
            object.__setattr__(truth, name, made)
        return messages

    bag, out = make_bag([samples_of(name) for name in "abc"], change=change), tmp_path / "out"
    assert cli.main(["evaluate", str(bag), "--out", str(out)]) == 1
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["samples"], summary["scored"], summary["failed"]) == (3, 2, 1)
    (lost,) = summary["unreadable"]
    assert lost["sample_id"] == "b" and "its ground truth is damaged" in lost["reason"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", ["mask_score", "box_iou"])
def test_a_number_that_is_not_finite_is_a_failed_sample_and_never_written(
    value, place, method, make_bag, samples_of, tmp_path, capsys
):
    from dataclasses import replace

    answer = method.answer

    def broken(frame, query, call):
        found = answer(frame, query, call)
        if query.query_id != "b":
            return found
        return replace(found, regions=tuple(replace(region, **{place: value}) for region in found.regions))

    method.answer = broken
    bag, out = make_bag([samples_of(name) for name in "abc"]), tmp_path / "out"
    assert cli.main(["evaluate", str(bag), "--out", str(out)]) == 1
    assert "--resume asks them again" in capsys.readouterr().err
    results = Results(out)
    assert [result.status for result in results.values()] == ["ok", "failed", "ok"]
    assert f"regions[0].{place} is not finite" in results["b"].error
    for name in ("results.json", "results.jsonl", "summary.json", "report.html"):
        text = (out / name).read_text()
        assert "NaN" not in text and "Infinity" not in text
    method.answer = answer
    assert cli.main(["evaluate", str(bag), "--out", str(out), "--resume"]) == 0
    assert json.loads((out / "summary.json").read_text())["giou"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("ending", [KeyboardInterrupt, "SIGTERM"])
def test_an_interrupted_evaluation_names_resume(ending, method, make_bag, samples_of, tmp_path, capsys):
    answer, seen = method.reasoner.answer, []

    def interrupted(frame, text, *call):
        seen.append(text)
        if len(seen) == 2:
            if ending == "SIGTERM":
                raise SystemExit(128 + signal.SIGTERM)
            raise KeyboardInterrupt
        return answer(frame, text, *call)

    method.reasoner.answer = interrupted
    bag, out = make_bag([samples_of(name) for name in "abc"]), tmp_path / "out"
    arguments = ["evaluate", str(bag), "--out", str(out), "--ahead", "0"]
    if ending == "SIGTERM":
        with pytest.raises(SystemExit) as left:
            cli.main(arguments)
        assert left.value.code == 128 + signal.SIGTERM
    else:
        assert cli.main(arguments) == cli.INTERRUPTED
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("reasonseg: ")]
    assert "--resume" in line and str(out) in line
    assert cli.main([*arguments, "--resume"]) == 0


def test_a_signal_in_the_middle_names_resume(make_bag, samples_of, tmp_path):
    """A real process, a real signal."""
    code = """
import os, sys, time
from reasonseg_ros import cli
from reasonseg_ros.config import Config
from reasonseg_ros.methods import loading
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter

class Slow(ScriptedReasoner):
    def answer(self, frame, text, *call):
        if text == "question b?":
            print("asked", flush=True)
            time.sleep(60)
        return super().answer(frame, text, *call)

method = SegZero(Slow(["<answer>[]</answer>"]), ScriptedSegmenter("box"), Config())
loading.load_method = lambda config, **_: method
sys.exit(cli.main(sys.argv[1:]))
"""
    bag, out = make_bag([samples_of(name) for name in "abc"]), tmp_path / "out"
    command = [sys.executable, "-c", code, "evaluate", str(bag), "--out", str(out), "--ahead", "0"]
    for number in (signal.SIGINT, signal.SIGTERM):
        resume = ["--resume"] if out.exists() else []
        with subprocess.Popen(
            [*command, *resume], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        ) as process:
            assert process.stdout.readline() == "asked\n"
            process.send_signal(number)
            _, errors = process.communicate(timeout=30)
        assert process.returncode == 128 + number and "Traceback" not in errors
        (line,) = [line for line in errors.splitlines() if line.startswith("reasonseg: ")]
        assert "--resume" in line and (out / "results.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize("name", ["results.jsonl", "images"])
def test_a_planted_link_is_not_followed(name, method, make_bag, samples_of, tmp_path, capsys):
    bag, out, outside = make_bag([samples_of("a")]), tmp_path / "out", tmp_path / "outside"
    out.mkdir()
    outside.mkdir()
    (out / name).symlink_to(outside if name == "images" else outside / "new")
    assert cli.main(["evaluate", str(bag), "--out", str(out)]) == cli.USAGE_ERROR
    assert "symbolic link" in capsys.readouterr().err and not list(outside.iterdir())


@pytest.mark.parametrize("name", ["settings.json", "results.json", "summary.json", "report.html"])
def test_a_result_takes_the_place_of_a_planted_link(name, method, make_bag, samples_of, tmp_path):
    bag, out, outside = make_bag([samples_of("a")]), tmp_path / "out", tmp_path / "outside"
    out.mkdir()
    outside.write_text("as it was")
    (out / name).symlink_to(outside)
    assert cli.main(["evaluate", str(bag), "--out", str(out)]) == 0
    assert outside.read_text() == "as it was" and not (out / name).is_symlink()


def test_what_a_killed_run_left_half_written_is_removed(run_folder, make_bag, tmp_path):
    (run_folder / ".results.json.x1y2.part").touch()
    (run_folder / "images/.17.jpg.x1y2.part").touch()
    other = run_folder / ".download.part"
    other.touch()
    assert cli.main(["evaluate", str(tmp_path / "bag"), "--out", str(run_folder), "--resume"]) == 0
    assert list(run_folder.rglob("*.part")) == [other], "what is not ours stays"
