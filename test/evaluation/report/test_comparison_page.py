"""Two runs side by side: the page as a file, and in a browser if there is one."""

import json
import re

import pytest

from reasonseg_ros import cli
from reasonseg_ros.evaluation.bag_messages import read_clips
from reasonseg_ros.evaluation.report.comparison_page import changed_settings
from reasonseg_ros.evaluation.run import Scoring, evaluate, finish
from reasonseg_ros.evaluation.run_folder import begin

BOX, LOW, OTHER = (8, 8, 24, 24), (8, 8, 24, 20), (40, 30, 60, 44)


@pytest.fixture
def comparison(make_bag, samples_of, scripted, answer_text, described, tmp_path, capsys):
    """Five samples of which the second run lost one, found one and changed one a little."""
    bag = make_bag(
        [
            samples_of(name, kind="none" if name == "found" else "relation")
            for name in ("same", "lost", "found", "less", "never")
        ]
    )
    answers = {"A": (BOX, BOX, OTHER, BOX, OTHER), "B": (BOX, OTHER, BOX, LOW, OTHER)}
    for name, boxes in answers.items():
        settings, command = {**described, "method": f"method {name}"}, f"reasonseg evaluate <{name}>"
        begin(tmp_path / name, settings, False, command)
        run = evaluate(read_clips(bag), scripted(*map(answer_text, boxes)), tmp_path / name, Scoring())
        finish(tmp_path / name, run, settings, command)
    page = tmp_path / "pages" / "comparison.html"
    assert cli.main(["compare", str(tmp_path / "A"), str(tmp_path / "B" / "results.jsonl"), "--report", str(page)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["sample_id"] for row in found["changed"]] == ["lost", "less", "found"]
    return page


def data(text, name):
    return json.loads(re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL)[1])


def cards(text):
    return re.findall(r'class="card" data-sample="([^"]*)"', text)


def test_the_page_holds_both_answers_to_every_sample(comparison):
    text = comparison.read_text()
    pairs = {pair["answers"][0]["id"]: pair for pair in data(text, "samples")}
    assert list(pairs) == ["lost", "found", "less", "same", "never"], "changed ones first, the largest change first"
    assert [answer["type"] for answer in pairs["lost"]["answers"]] == ["OK", "T1"]
    assert [answer["boxes"] for answer in pairs["lost"]["answers"]] == [[list(BOX)], [list(OTHER)]]
    assert (pairs["less"]["gain"], pairs["less"]["gained"]) == (-0.25, "")
    assert pairs["less"]["lost"] == "M8 20L8 23L23 23L23 20Z", "the rows that only A marked"
    assert all(picture for _, picture in data(text, "pictures"))
    assert "reasonseg evaluate &lt;B&gt;" in text and "method A" in text
    assert not re.search(r'(?:src|href)="|url\(|@import|\bfetch\(', text), "nothing is loaded from elsewhere"
    row = re.search(r"<td>gIoU</td>(.*?)</tr>", text)[1]
    assert re.findall(r"<td>([^<]*)</td>", row)[:3] == ["60.0", "55.0", "-5.0"]


def test_settings_that_differ_are_reported():
    before = {"command": "a", "method": "seg_zero", "cards": {"reasoner": {"name": "one", "size": 1}}}
    after = {"command": "b", "method": "seg_zero", "cards": {"reasoner": {"name": "two", "size": 1}}, "seed": 3}
    assert changed_settings(before, after) == {"cards.reasoner.name": ("one", "two"), "seed": ("", 3)}


def test_the_page_filters_by_change_by_who_is_right_and_by_type(comparison, browse):
    whole = browse(comparison)
    assert cards(whole) == ["lost", "found", "less", "same", "never"] and ">5 of 5<" in whole
    assert cards(browse(comparison, "#change=worse")) == ["lost", "less"]
    assert cards(browse(comparison, "#right=b")) == ["found"]
    assert cards(browse(comparison, "#right=none")) == ["never"]
    clicked = browse(comparison, "#right=none", "document.querySelector('#moves [data-from=OK][data-to=T1]').click()")
    assert cards(clicked) == ["lost"]
    opened = browse(comparison, "#sample=less")
    detail = re.search(r'<dialog id="detail" open="">(.*?)</dialog>', opened, re.DOTALL)[1]
    assert 'class="lost"' in detail and 'class="gained"' not in detail and detail.count("Thought: I looked.") == 2
