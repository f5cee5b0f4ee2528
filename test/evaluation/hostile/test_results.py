"""Impossible results and settings of a run end in one line that names them."""

import json

import pytest

from reasonseg_ros import cli
from reasonseg_ros.evaluation.result_lines import Results

DEEP = "[" * 200_000


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
def test_a_damaged_line_in_the_middle_is_reported_and_one_at_the_end_is_asked_again(
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
