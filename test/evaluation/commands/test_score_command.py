"""`reasonseg score`, run as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from reasonseg_ros import cli
from reasonseg_ros.evaluation.scoring.metrics import PROTOCOLS
from reasonseg_ros.images.run_lengths import encode_rle

ROOT = Path(__file__).resolve().parents[3]
KEYS = {"samples", "failed", "giou", "ciou", "nciou", "n_acc", "parseable", "right_target"}
TARGET = np.zeros((30, 40), np.uint8)
TARGET[5:15, 5:25] = 1
IGNORED = TARGET.copy()
IGNORED[15:25, 5:25] = 255
HALF = np.zeros_like(TARGET)
HALF[5:15, 5:15] = 255


def write(folder, **masks):
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in masks.items():
        cv2.imwrite(str(folder / f"{name}.png"), values)
    return folder


def score(capsys, predictions, targets, *options):
    status = cli.main(["score", "--predictions", str(predictions), "--targets", str(targets), *options])
    printed = capsys.readouterr()
    return status, json.loads(printed.out), printed.err.splitlines()


def test_good_masks_are_scored_without_a_message(tmp_path, capsys):
    predictions = write(tmp_path / "said", a=TARGET * 255, b=HALF, c=TARGET * 0)
    targets = write(tmp_path / "true", a=TARGET, b=TARGET, c=TARGET * 0)
    status, result, lines = score(capsys, predictions, targets)
    assert (status, lines) == (0, [])
    assert result.keys() >= KEYS
    assert (result["samples"], result["scored"], result["failed"]) == (3, 3, 0)
    assert result["giou"] == pytest.approx((1 + 0.5 + 1) / 3, abs=1e-6)
    assert result["ciou"] == pytest.approx(300 / 400)
    assert result["n_acc"] == 1.0
    assert result["box_acc_50"] is None


def test_ignored_pixels_count_by_the_protocol(tmp_path, capsys):
    predictions, targets = write(tmp_path / "said", a=IGNORED), write(tmp_path / "true", a=IGNORED)
    for protocol in PROTOCOLS:
        assert score(capsys, predictions, targets, "--protocol", protocol)[1]["giou"] == pytest.approx(1, abs=1e-6)
    write(predictions, a=TARGET)
    assert score(capsys, predictions, targets)[1]["giou"] == pytest.approx(1, abs=1e-6)
    assert score(capsys, predictions, targets, "--protocol", "seg_zero")[1]["giou"] == 0.5


def test_every_failure_is_one_line_and_all_counts_add_up(tmp_path, capsys):
    whole = cv2.imencode(".png", TARGET)[1].tobytes()
    predictions = write(tmp_path / "said", good=TARGET, small=TARGET[:-1], turned=TARGET.T, extra=TARGET, odd=TARGET)
    (predictions / "cut.png").write_bytes(whole[:40])
    (predictions / "null.json").write_text("null")
    targets = write(tmp_path / "true", **dict.fromkeys(("good", "small", "turned", "cut", "null", "missing"), TARGET))
    (targets / "odd.png").write_bytes(b"")
    status, result, lines = score(capsys, predictions, targets)
    assert status == 1
    assert (result["samples"], result["scored"], result["failed"]) == (8, 1, 7)
    assert result["problems"] == {
        "missing": 1, "unreadable": 1, "wrong_size": 2, "not_parsed": 1, "without_target": 1, "target_unreadable": 1,
    }  # fmt: skip
    assert sum(result["problems"].values()) == result["failed"] == len(lines)
    assert {line.split(": ")[1] for line in lines} == {"small", "turned", "extra", "odd", "cut", "null", "missing"}
    assert any("40 x 29 for a target of 40 x 30" in line for line in lines)
    # Whatever has a target counts, with IoU 0; the two without one cannot.
    assert result["giou"] == pytest.approx(1 / 6, abs=1e-6)
    assert result["ciou"] == pytest.approx(1 / 6, abs=1e-6)
    assert result["parseable"] == pytest.approx(1 / 6)


def test_one_json_file_against_a_folder(tmp_path, capsys):
    rle = {"size": [30, 40], "counts": encode_rle(TARGET > 0).tolist()}
    (tmp_path / "said.json").write_text(json.dumps({"a": rle, "b": None}))
    targets = write(tmp_path / "true", a=TARGET, b=TARGET)
    status, result, lines = score(capsys, tmp_path / "said.json", targets)
    assert (status, result["samples"], result["failed"], len(lines)) == (1, 2, 1, 1)
    assert result["giou"] == pytest.approx(0.5, abs=1e-6)


def test_a_target_saved_as_255_among_others_gets_a_hint(tmp_path, capsys):
    predictions = write(tmp_path / "said", a=TARGET, b=TARGET)
    status, _, lines = score(capsys, predictions, write(tmp_path / "true", a=TARGET * 255, b=TARGET))
    assert status == 0
    assert len(lines) == 1 and "save it as 1" in lines[0]


def test_targets_that_are_all_saved_as_255_are_refused(tmp_path, capsys):
    predictions = write(tmp_path / "said", a=TARGET, b=TARGET * 0)
    targets = write(tmp_path / "true", a=TARGET * 255, b=TARGET * 0)
    assert cli.main(["score", "--predictions", str(predictions), "--targets", str(targets)]) == 2
    printed = capsys.readouterr()
    assert not printed.out and "1 targets hold only 0 and 255" in printed.err and "as 1" in printed.err


def test_videos_add_j_and_f_by_expression(tmp_path, capsys):
    for name in ("fell", "rolled"):
        write(tmp_path / "true" / name, f0=TARGET, f1=TARGET)
    write(tmp_path / "said" / "fell", f0=TARGET, f1=TARGET)
    write(tmp_path / "said" / "rolled", f0=TARGET)
    status, result, lines = score(capsys, tmp_path / "said", tmp_path / "true", "--video")
    assert status == 1 and len(lines) == 1 and "rolled/f1" in lines[0]
    assert result["by_expression"]["fell"]["j_and_f"] == 1.0
    assert result["by_expression"]["rolled"] == {"j": 0.5, "f": 0.5, "j_and_f": 0.5}
    assert result["j_and_f"] == 0.75


def test_masks_alone_are_typed(tmp_path, capsys):
    """As those of LISA, which shows nothing but a mask."""
    elsewhere, thin = np.zeros_like(TARGET), TARGET.copy()
    elsewhere[20:28, 28:38] = 1
    thin[7:13, 7:23] = 0
    said = {"a": TARGET, "b": elsewhere, "c": thin, "d": TARGET, "e": TARGET * 0, "f": TARGET * 0}
    predictions = write(tmp_path / "said", **said)
    (predictions / "g.json").write_text("null")
    targets = write(tmp_path / "true", **dict.fromkeys("abceg", TARGET), d=TARGET * 0, f=TARGET * 0)
    status, result, _ = score(capsys, predictions, targets, "--each", str(tmp_path / "each.jsonl"))
    assert status == 1
    each = [json.loads(line) for line in (tmp_path / "each.jsonl").read_text().splitlines()]
    assert {line["name"]: line["failure"] for line in each} == {
        "a": "OK", "b": "T1", "c": "T3", "d": "FP", "e": "FN", "f": "OK", "g": "F0"
    }  # fmt: skip
    assert (each[1]["tags"], each[6]["problem"]) == (["wrong object"], "not_parsed")
    assert {kind: values["samples"] for kind, values in result["failures"].items()} == {
        "F0": 1, "FP": 1, "FN": 1, "OK": 2, "T1": 1, "T3": 1
    }  # fmt: skip
    assert sum(result["sweeps"]["ok_iou"][0]["types"].values()) == 7


def test_activation_maps_tell_where_the_model_looked(tmp_path, capsys):
    """As those of READ: the same mask is misread or badly cut, depending on what was active."""
    poor = np.zeros_like(TARGET)
    poor[5:15, 5:12] = 1
    predictions = write(tmp_path / "said", **dict.fromkeys("abcd", poor))
    targets = write(tmp_path / "true", **dict.fromkeys("abcd", TARGET))
    maps = tmp_path / "maps"
    maps.mkdir()
    np.save(maps / "a.npy", np.kron(TARGET, np.ones((2, 2))) * 7.5 - 3)  # of another size and scale
    away = np.zeros((15, 20), np.float16)
    away[11:, 14:] = 1
    np.save(maps / "b.npy", away)
    cv2.imwrite(str(maps / "c.png"), TARGET * 200)
    (maps / "d.npy").write_bytes(b"no map")
    status, result, lines = score(
        capsys, predictions, targets, "--activations", str(maps), "--each", str(tmp_path / "each.jsonl")
    )
    assert (status, result["failed"], result["without_activation"]) == (1, 0, 1)
    assert len(lines) == 1 and "d: activation" in lines[0] and "derived from the mask" in lines[0]
    each = [json.loads(line) for line in (tmp_path / "each.jsonl").read_text().splitlines()]
    assert [line["failure"] for line in each] == ["T3", "T1", "T3", "T3"]
    assert [line["measured"]["box_iou"] for line in each[:2]] == [1.0, 0.0]
    assert result["giou"] == pytest.approx(70 / 200, abs=1e-6), "maps change no score"


def test_masks_against_the_ground_truth_of_a_bag(make_bag, samples_of, tmp_path, capsys):
    box = np.zeros((48, 64), np.uint8)
    box[8:24, 8:24] = 1
    bag = make_bag(
        [samples_of("still"), samples_of("no image", image=1), samples_of("v/0", image=2), samples_of("v/0", image=3)],
        change=lambda messages: messages[:3] + messages[4:],
    )
    predictions = write(tmp_path / "said", still=box)
    write(predictions / "v" / "0", **{"00000": box})
    status, result, lines = score(capsys, predictions, bag, "--video")
    assert (status, result["samples"], result["scored"], result["failed"]) == (1, 4, 2, 2)
    assert result["problems"]["missing"] == result["problems"]["target_unreadable"] == 1
    assert sorted(line.split(": ")[1] for line in lines) == ["no image", "v/0/00001"]
    assert result["by_expression"]["v/0"]["j"] == 0.5


def test_a_bag_without_ground_truth_is_refused(make_bag, samples_of, tmp_path, capsys):
    bag = make_bag([samples_of("a")], with_truth=False)
    command = ["score", "--predictions", str(write(tmp_path / "said", a=TARGET)), "--targets", str(bag)]
    assert cli.main(command) == cli.USAGE_ERROR
    assert "no ground truth" in capsys.readouterr().err


def test_lines_that_cannot_be_written_are_refused_before_anything_is_scored(tmp_path, capsys):
    masks = str(write(tmp_path / "said", a=TARGET))
    command = ["score", "--predictions", masks, "--targets", masks, "--each", str(tmp_path)]
    assert cli.main(command) == cli.USAGE_ERROR
    printed = capsys.readouterr()
    assert printed.out == "" and f"--each {tmp_path} cannot be written" in printed.err


@pytest.mark.parametrize("missing", ["said", "true"])
def test_a_folder_that_is_not_there_is_one_line(tmp_path, capsys, missing):
    for name in {"said", "true"} - {missing}:
        write(tmp_path / name, a=TARGET)
    command = ["score", "--predictions", str(tmp_path / "said"), "--targets", str(tmp_path / "true")]
    assert cli.main(command) == cli.USAGE_ERROR
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1 and missing in printed.err


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_is_offered(tmp_path, capsys, protocol):
    masks = write(tmp_path, a=TARGET)
    assert score(capsys, masks, masks, "--protocol", protocol)[1]["protocol"] == protocol


def test_scoring_loads_neither_torch_nor_ros(tmp_path):
    masks = write(tmp_path, a=TARGET)
    code = f"""
import sys
from reasonseg_ros.cli import main
assert "scipy" not in sys.modules
main(["score", "--predictions", {str(masks)!r}, "--targets", {str(masks)!r}])
heavy = {{"torch", "transformers", "rclpy", "mujoco"}} & set(sys.modules)
assert not heavy, heavy
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert json.loads(result.stdout)["failed"] == 0
