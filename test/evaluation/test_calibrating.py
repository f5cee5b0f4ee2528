"""From results to a calibration: what it reads, what it recovers, what it refuses."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from reasonseg_ros.cli import main
from reasonseg_ros.engine.export_folder import weights_sha256
from reasonseg_ros.errors import InvalidInput, ModelError
from reasonseg_ros.evaluation.calibrating import fit, read_examples
from reasonseg_ros.evaluation.result_lines import ResultLines
from reasonseg_ros.evaluation.results import SampleResult
from reasonseg_ros.evaluation.scoring.metrics import score_sample
from reasonseg_ros.images.run_lengths import rle_from_mask
from reasonseg_ros.methods.confidence import FILE_NAME, Signals, read_calibration
from reasonseg_ros.model_card import load_card
from reasonseg_ros.types import Grounding

MASK = np.zeros((8, 8), bool)
MASK[2:6, 2:6] = True
SETTINGS = {
    "parameters": {"reasoner": {"backend": "auto"}}, "model_cards": {"reasoner": {"name": "tabletop-reasoner"}}
}  # fmt: skip
RIGHT, WRONG = Grounding([2, 2, 6, 6]), Grounding([6, 6, 8, 8])


def result(number, is_right, entropy_nats, status="ok"):
    grounding = RIGHT if is_right else WRONG
    return SampleResult(
        sample_id=f"s{number}", question="what?", kind="function", split="val", is_sentence=True, stamp_ns=number,
        size_wh=(8, 8), image=f"images/{number // 3}.jpg", status=status, thought="t", raw_text="r", error="",
        dialect="seg_zero", tokens=4, groundings=[{"box_xyxy": grounding.box_xyxy.tolist()}],
        regions=[{"mask_score": 0.9, "box_iou": 0.8}], mask=rle_from_mask(MASK), seconds={},
        score=score_sample(MASK, MASK, groundings=[grounding]), failure="OK", entropy_nats=entropy_nats,
    )  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """300 answers whose log-odds of being right are 3 - 2 log1p(entropy)."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(SETTINGS))
    with ResultLines(folder / "results.jsonl") as lines:
        for number, nats in enumerate(rng.uniform(0, 12, 300)):
            is_right = rng.random() < 1 / (1 + math.exp(-(3 - 2 * math.log1p(nats))))
            lines.append(result(number, is_right, float(nats)))
        lines.append(result(900, True, None))  # no entropy
        lines.append(result(902, False, 9.0, status="unsure"))
        lines.append(result(901, False, 3.0, status="empty_mask"))  # no answer
    return folder


def test_only_answers_with_an_entropy_count(run):
    examples = read_examples([run])
    assert len(examples) == 301
    signals, is_right, image = examples[0]
    assert isinstance(signals, Signals) and isinstance(is_right, bool) and image.endswith("images/0.jpg")
    assert (signals.mask_score, signals.box_iou, signals.targets, signals.is_none) == (0.9, 0.8, 1, False)


def test_the_weights_that_made_the_answers_are_recovered(run):
    calibration = fit(read_examples([run]), "ab12")
    assert calibration.coefficients[0] == pytest.approx(-2.0, abs=0.5)
    assert calibration.questions == 301 and 0.6 < calibration.auroc < 0.9 and calibration.calibration_error < 0.15


def test_the_confidence_is_scikit_learn_s_probability(run):
    examples = read_examples([run])
    calibration = fit(examples, "ab12")
    values = np.array([signals.values for signals, _, _ in examples])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    expected = pipeline.fit(values, [is_right for _, is_right, _ in examples]).predict_proba(values)[:, 1]
    found = [calibration.confidence(signals) for signals, _, _ in examples]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("max_lost", [0, 0.01, 0.25])
def test_the_threshold_loses_at_most_a_share_of_the_right_answers(run, max_lost):
    """Judged with the predictions of scikit-learn for the held-out folds."""
    examples = read_examples([run])
    values = np.array([signals.values for signals, _, _ in examples])
    right = np.array([is_right for _, is_right, _ in examples])
    images = [image for _, _, image in examples]
    held_out = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)), values, right,
        groups=images, cv=GroupKFold(5), method="predict_proba",
    )[:, 1]  # fmt: skip
    threshold = fit(examples, "ab12", max_lost=max_lost).min_confidence
    assert (held_out[right] < threshold).mean() <= max_lost
    assert (held_out[right] < threshold + 0.01).mean() > max_lost or max_lost == 0


def test_too_few_wrong_answers_are_refused(run):
    right = [example for example in read_examples([run]) if example[1]]
    with pytest.raises(InvalidInput, match="and 0 wrong answers with an entropy; at least 20 of each"):
        fit(right, "ab12")


def test_the_verb_writes_a_file_for_the_model(run, tmp_path, capsys):
    out = tmp_path / FILE_NAME
    assert main(["calibrate", str(run), "--out", str(out)]) == 0
    assert "301 questions: AUROC 0." in capsys.readouterr().out
    values = json.loads(out.read_text())
    assert (values["version"], values["questions"], len(values["weights_sha256"])) == (1, 301, 64)


def test_the_verb_chooses_a_threshold(run, tmp_path, capsys):
    out = tmp_path / FILE_NAME
    assert main(["calibrate", str(run), "--max-lost", "0.02", "--out", str(out)]) == 0
    threshold = json.loads(out.read_text())["min_confidence"]
    assert 0 < threshold < 0.5
    assert f"unsure below {threshold}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{tmp}/none"], "has no results.jsonl"),
        (["{run}", "--model", "qwen2.5-vl-3b"], "the weights of qwen2.5-vl-3b are not in a folder here"),
    ],
)
def test_the_verb_refuses_with_the_reason(run, tmp_path, capsys, arguments, words):
    given = [one.format(tmp=tmp_path, run=run) for one in arguments]
    assert main(["calibrate", *given, "--out", str(tmp_path / "c.json")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_cards": {"reasoner": {"name": "other"}}}, "was answered by other, not by tabletop-reasoner"),
        ({"reasoner_weights_sha256": "0" * 64}, "was answered by other weights than those that are in"),
        ({"method": "llm_seg"}, "was answered by llm_seg, whose answers have no confidence"),
    ],
)
def test_answers_of_another_model_are_refused(run, tmp_path, capsys, changes, words):
    """The file would say that it was fitted for these weights."""
    (run / "settings.json").write_text(json.dumps({**SETTINGS, **changes}))
    assert main(["calibrate", str(run), "--out", str(tmp_path / "c.json")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "c.json").exists()


def test_answers_of_these_weights_are_taken(run, tmp_path):
    digest = weights_sha256(Path(load_card("tabletop-reasoner", "reasoner").source))
    settings = {"model_cards": {"reasoner": {"name": "before it was copied"}}, "reasoner_weights_sha256": digest}
    (run / "settings.json").write_text(json.dumps({**SETTINGS, **settings}))
    assert main(["calibrate", str(run), "--out", str(tmp_path / "c.json")]) == 0


def served(run, name="vision-reasoner-7b", server_model=""):
    """The run as if a server had answered."""
    reasoner = {"backend": "server", "server_model": server_model}
    settings = {"parameters": {"reasoner": reasoner}, "model_cards": {"reasoner": {"name": name}}}
    (run / "settings.json").write_text(json.dumps(settings))
    return run


def test_the_file_of_a_served_model_names_it_instead_of_weights(run, tmp_path):
    out = tmp_path / FILE_NAME
    assert main(["calibrate", str(served(run)), "--model", "vision-reasoner-7b", "--out", str(out)]) == 0
    source = load_card("vision-reasoner-7b", "reasoner").source
    assert read_calibration(out, served_model=source).served_model == source
    with pytest.raises(ModelError, match="was fitted for the served model 'Ricky06662/VisionReasoner-7B', and is used"):
        read_calibration(out, "ab" * 32)
    with pytest.raises(ModelError, match="is used for the served model 'another'"):
        read_calibration(out, served_model="another")


def test_a_servers_own_name_of_the_model_is_taken(run, tmp_path):
    out = tmp_path / FILE_NAME
    arguments = [str(served(run, server_model="mine")), "--model", "vision-reasoner-7b", "--out", str(out)]
    assert main(["calibrate", *arguments]) == 0
    assert read_calibration(out, served_model="mine").served_model == "mine"


def test_runs_of_different_reasoners_are_not_calibrated_together(run, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    served(other)
    out = ["--out", str(tmp_path / "c.json")]
    assert main(["calibrate", str(run), str(other), "--model", "vision-reasoner-7b", *out]) == 2
    assert "these runs were answered by different models" in capsys.readouterr().err
    assert main(["calibrate", str(other), *out]) == 2
    assert "was answered by vision-reasoner-7b on a server; add --model" in capsys.readouterr().err


def test_a_server_without_log_probabilities_is_named(tmp_path, capsys):
    folder = tmp_path / "silent"
    folder.mkdir()
    with ResultLines(folder / "results.jsonl") as lines:
        lines.append(result(1, True, None))
    arguments = ["calibrate", str(served(folder)), "--model", "vision-reasoner-7b", "--out", str(tmp_path / "c.json")]
    assert main(arguments) == 2
    assert "the server listed no log-probabilities" in capsys.readouterr().err
