"""The report as a file, and as a page in a browser if there is one."""

import html
import json
import re

import numpy as np
import pytest

from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.evaluation.report.page import outline
from reasonseg_ros.evaluation.report.run_page import sweep_charts
from reasonseg_ros.evaluation.run import Scoring, evaluate, finish

BOX, LOW, OTHER = (8, 8, 24, 24), (8, 8, 24, 21), (40, 30, 60, 44)
CARDS = 24  # drawn at first; more come when the page is scrolled


@pytest.fixture
def report(make_bag, samples_of, scripted, answer_text, described, tmp_path):
    """A run with right, wrong, imagined and unreadable answers, and with text that would break a careless page."""
    asked = [samples_of(f"right{number}") for number in range(30)]
    asked += [
        samples_of("wrong", kind="relation"),
        samples_of("imagined", None, "none"),
        samples_of("mumbled", image=1),
    ]
    texts = [answer_text(box) for box in [BOX] * 29 + [LOW, OTHER, BOX]]
    texts += ["</script><script>alert(1)</script> no."]
    bag = make_bag(asked)
    run = evaluate(read_clips(bag), scripted(*texts), tmp_path, Scoring())
    finish(tmp_path, run, described, "reasonseg evaluate <bag>")
    return tmp_path / "report.html"


def data(text, name):
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)[1])


def test_the_report_holds_everything(report):
    text = report.read_text()
    samples, pictures = data(text, "samples"), dict(data(text, "pictures"))
    assert [sample["id"] for sample in samples[:3]] == ["imagined", "mumbled", "wrong"]
    assert samples[1]["text"] == "</script><script>alert(1)</script> no."
    assert [sample["type"] for sample in samples[:4]] == ["FP", "F0", "T1", "OK"]
    assert samples[2]["target"] == "M8 8L8 23L23 23L23 8Z" and samples[2]["boxes"] == [list(OTHER)]
    assert len(pictures) == 2, "questions about one image share its picture"
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in pictures.values())
    assert not re.search(r'(?:src|href)="|url\(|@import|\bfetch\(', text), "nothing is loaded from elsewhere"
    assert "a &lt;bag&gt;" in text and "<bag>" not in text
    assert "Seg-Zero-7B" not in text, "published numbers were measured on other data"
    assert re.findall(r'data-kind="(\w+)" data-type="(\w+)">(\d+)<', text) == [
        ("function", "F0", "1"), ("function", "OK", "30"), ("none", "FP", "1"), ("relation", "T1", "1")
    ]  # fmt: skip
    # Three whole losses and a part of one are all the reasoner's: the true boxes give the true masks.
    loss = re.search(r'id="loss">Of the mean loss of (\S+) IoU points, (\S+) are .* and (\S+) the segmenter', text)
    assert loss.groups() == ("9.7", "9.7", "0.0")
    assert len(text) < 500_000


def test_a_report_without_any_answer_is_a_report(described, tmp_path):
    finish(tmp_path, evaluate([], None, tmp_path, Scoring()), described, "")
    assert "0 samples" in (tmp_path / "report.html").read_text()


def test_a_run_without_ground_truth_shows_answers_and_no_scores(
    make_bag, samples_of, scripted, answer_text, described, tmp_path
):
    run = evaluate(
        read_clips(make_bag([samples_of("a")], with_truth=False)), scripted(answer_text(BOX)), tmp_path, Scoring()
    )
    strictly = {**described, "parameters": {"reasoner": {"strict": True}}}
    finish(tmp_path, run, strictly, "")
    text = (tmp_path / "report.html").read_text()
    assert data(text, "samples")[0]["mask"] and "answers read strictly" in text
    assert 'id="scores"' not in text and 'id="published"' not in text


def test_outlines_keep_holes():
    mask = np.zeros((20, 20), bool)
    mask[2:18, 2:18] = True
    mask[8:12, 8:12] = False
    assert outline(mask).count("M") == 2
    assert outline(np.zeros((20, 20), bool)) == ""


def cards(text):
    return re.findall(r'class="card" data-sample="([^"]*)"', text)


def test_the_page_filters_searches_and_opens(report, browse):
    whole = browse(report)
    assert len(cards(whole)) >= CARDS and cards(whole)[:3] == ["imagined", "mumbled", "wrong"]
    assert ">33 of 33<" in whole and '<dialog id="detail"></dialog>' in whole
    assert cards(browse(report, "#kind=none")) == ["imagined"]
    assert cards(browse(report, "#q=RIGHT17+looked")) == ["right17"]
    opened = browse(report, "#type=F0&sample=mumbled")
    detail = re.search(r'<dialog id="detail" open="">(.*?)</dialog>', opened, re.DOTALL)[1]
    assert html.escape("</script><script>alert(1)</script> no.", quote=False) in detail
    assert "question mumbled?" in detail


def test_a_click_on_the_chart_or_the_table_of_kinds_filters(report, browse):
    clicked = browse(report, script="document.querySelector('#chart [data-type=T1]').click()")
    assert cards(clicked) == ["wrong"] and 'data-type="T1" aria-pressed="true"' in clicked
    clicked = browse(report, "#q=right", "document.querySelector('#confusion [data-kind=none][data-type=FP]').click()")
    assert cards(clicked) == ["imagined"]


def test_sweeps_are_tables_with_the_value_that_was_used(report):
    text = report.read_text()
    sweep = re.search(r"<caption>ok_iou</caption>(.*?)</table>", text, re.DOTALL)[1]
    assert '<th class="used">0.75</th>' in sweep and "<td>T3</td>" in sweep
    assert "<caption>leakage_precision</caption>" not in text, "it changes nothing here"


def test_a_chart_counts_types_or_else_tags():
    types = [{"FN": 1, "OK": 3, "T1": 0}, {"FN": 1, "OK": 2, "T1": 1}]
    rows = [{"value": v, "types": found, "tags": {}} for v, found in zip((0.7, 0.75), types, strict=True)]
    tags = [{"value": v, "types": {"OK": 3}, "tags": {"holes": n}} for v, n in ((2, 2), (3, 1))]
    same = [{"value": v, "types": {"OK": 3}, "tags": {}} for v in (0.4, 0.5)]
    assert sweep_charts({"sweeps": {"ok_iou": rows, "holes": tags, "box_covered": same}}) == [
        {"threshold": "ok_iou", "used": 0.75, "values": [0.7, 0.75], "counts": {"OK": [3, 2], "T1": [0, 1]}},
        {"threshold": "holes", "used": 3, "values": [2, 3], "counts": {"holes": [2, 1]}},
    ]


@pytest.mark.parametrize(
    ("data_sets", "shown", "hidden"),
    [
        (["ReasonSeg val"], ["66.3", "measured on ReasonSeg val", "1 of the 200 samples"], ["51.5", "ReVSeg"]),
        (["ReasonSeg test"], ["51.5", "1 of the 779 samples"], ["66.3"]),
        (["ReasonSeg train"], [], ["LISA", "published"]),
        (["ReasonSeg test", "ReasonSeg val"], [], ["LISA", "published"]),
        (["ReasonVOS"], [], ["ReVSeg", "LISA"]),  # a run over stills has no J&F
        ([""], [], ["LISA", "published"]),
        ([], [], ["LISA", "published"]),
    ],
)
def test_published_numbers_stand_only_beside_a_run_over_the_same_split(
    data_sets, shown, hidden, make_bag, samples_of, scripted, answer_text, described, tmp_path
):
    run = evaluate(read_clips(make_bag([samples_of("a")])), scripted(answer_text(BOX)), tmp_path, Scoring())
    finish(tmp_path, run, {**described, "data_sets": data_sets}, "reasonseg evaluate")
    page = (tmp_path / "report.html").read_text()
    assert all(word in page for word in shown) and not any(word in page for word in hidden)


def test_videos_stand_beside_published_videos_of_their_set(
    make_bag, samples_of, scripted, answer_text, described, tmp_path
):
    asked = [samples_of("v/0", image=number) for number in range(2)]
    run = evaluate(read_clips(make_bag(asked)), scripted(answer_text(BOX)), tmp_path, Scoring())
    finish(tmp_path, run, {**described, "data_sets": ["ReasonVOS"]}, "reasonseg evaluate")
    page = (tmp_path / "report.html").read_text()
    assert "ReVSeg-7B" in page and "64.8" in page and "80.7" not in page
