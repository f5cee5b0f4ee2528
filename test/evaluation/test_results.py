import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.result_lines import ResultLines, Results, write_results
from reasonseg_ros.evaluation.results import SampleResult
from reasonseg_ros.evaluation.scoring.failures import measure
from reasonseg_ros.evaluation.scoring.metrics import score_sample
from reasonseg_ros.evaluation.scoring.summary import row
from reasonseg_ros.images.run_lengths import mask_from_rle, rle_from_mask
from reasonseg_ros.types import Grounding


@pytest.fixture
def mask():
    mask = np.zeros((5, 7), bool)
    mask[1:4, 2:6] = True
    mask[2, 3] = False
    return mask


@pytest.fixture
def result(mask):
    return SampleResult(
        sample_id="a", question="où?", kind="function", split="test", is_sentence=True, stamp_ns=3, size_wh=(7, 5),
        image="images/3.jpg", status="ok", thought="t", raw_text="r", error="", dialect="seg_zero", tokens=4,
        groundings=[], regions=[], mask=rle_from_mask(mask), seconds={"reasoning": 0.5},
        score=score_sample(mask, mask), failure="OK",
    )  # fmt: skip


def again(result, **changes):
    return SampleResult.from_json({**result.to_json(), **changes})


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_masks_come_back_and_are_coco_s(mask):
    from pycocotools import mask as coco

    rle = rle_from_mask(mask)
    assert np.array_equal(mask_from_rle(rle), mask)
    assert np.array_equal(coco.decode(coco.frPyObjects(rle, *rle["size"])), mask)
    with pytest.raises(InvalidInput, match="add up to"):
        mask_from_rle({"size": [5, 8], "counts": rle["counts"]})


def test_a_row_keeps_the_values_of_a_result_in_little_memory(result, mask):
    full = replace(result, measured=measure(mask, mask, None, [Grounding([2, 1, 6, 4])]), expression="b")
    for known in (full, replace(full, score=None, measured=None, seconds={})):
        kept = row(known)
        assert (kept.score, kept.measured, dict(kept.seconds)) == (known.score, known.measured, known.seconds)
        assert (kept.kind, kept.status, kept.expression, kept.failure) == ("function", "ok", "b", "OK")
        assert sys.getsizeof(kept) + sys.getsizeof(kept.packed) < 500


def test_a_result_comes_back_from_json(result):
    assert SampleResult.from_json(json.loads(json.dumps(result.to_json()))) == result
    with pytest.raises(InvalidInput, match="sample_id, question"):
        SampleResult.from_json({"score": None, "size_wh": [1, 2]})


def test_lines_are_found_again_and_later_ones_win(result, tmp_path):
    path = tmp_path / "results.jsonl"
    with ResultLines(path) as lines:
        lines.append(result)
        lines.append(again(result, sample_id="b"))
        lines.append(again(result, thought="second"))
    with ResultLines(path) as lines:
        assert "a" in lines and "b" in lines and "c" not in lines
        assert lines.read("a").thought == "second"
        assert lines.read("b").sample_id == "b"


@pytest.mark.parametrize("left", [b'{"sample_id": "b", "qu', b'{"sample_id": "b"}', b"\x00\x00\x00", b"[]\n"])
def test_a_half_written_line_is_cut_off(result, tmp_path, left):
    path = tmp_path / "results.jsonl"
    with ResultLines(path) as lines:
        lines.append(result)
    whole = path.read_bytes()
    path.write_bytes(whole + left)
    with ResultLines(path) as lines:
        assert "a" in lines and "b" not in lines
        lines.append(again(result, sample_id="b"))
        assert lines.read("b").sample_id == "b"
    assert path.read_bytes().startswith(whole + b'{"sample_id": "b"')


def test_results_are_read_from_the_lines_of_a_run_that_may_go_on(result, tmp_path):
    with ResultLines(tmp_path / "results.jsonl") as lines:
        lines.append(result)
        lines.append(again(result, sample_id="b"))
        lines.append(again(result, thought="second"))
    with (tmp_path / "results.jsonl").open("ab") as file:
        file.write(b'{"sample_id": "c", "qu')
    before = (tmp_path / "results.jsonl").read_bytes()
    for path in (tmp_path, tmp_path / "results.jsonl"):
        results = Results(path)
        assert list(results) == ["a", "b"] and len(results) == 2 and results.get("c") is None
        assert results["a"].thought == "second" and results["b"] == again(result, sample_id="b")
    assert (tmp_path / "results.jsonl").read_bytes() == before, "the run may be writing there"


def test_what_is_written_for_people_is_plain_json_and_not_read_back(result, tmp_path):
    path = tmp_path / "results.json"
    write_results(path, {"seed": 1}, iter([result, again(result, sample_id="b")]))
    whole = json.loads(path.read_text())
    assert whole["run"] == {"seed": 1} and [sample["sample_id"] for sample in whole["samples"]] == ["a", "b"]
    with pytest.raises(InvalidInput, match=r"read from results\.jsonl; give that file"):
        Results(path)
    with pytest.raises(InvalidInput, match=r"has results\.json but no results\.jsonl.*evaluate again"):
        Results(tmp_path)
    with pytest.raises(InvalidInput, match=r"nowhere has no results\.jsonl; give"):
        Results(tmp_path / "nowhere" / "results.jsonl")


@pytest.mark.parametrize("text", ["[]\n[]\n", '{"run": {},\n"samples": [\n3\n]}\n', "{}\n{}\n", "\n\n"])
def test_another_file_is_no_results(tmp_path, text):
    path = tmp_path / "results.jsonl"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=r"line 1 of .* is no result"):
        Results(path)
