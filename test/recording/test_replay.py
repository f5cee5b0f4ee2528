from dataclasses import replace

import pytest

from reasonseg_ros import cli
from reasonseg_ros.commands.replay import overrides
from reasonseg_ros.config import config_from, settings
from reasonseg_ros.recording.comparison import Tolerance, compared
from reasonseg_ros.recording.conditions import conditions_of, differences
from reasonseg_ros.recording.reading import read_black_boxes
from reasonseg_ros.recording.replaying import Replay
from reasonseg_ros.types import Answer, Status
from test.recording.boxes import TEXT, black_box, prompted_box, scripted_method, write_box


@pytest.fixture
def loaded(monkeypatch):
    """Has the command load scripted models, whose text is set; lists the configurations that were asked for."""

    def use(text=TEXT, shape="box"):
        configs = []

        def load(config, **_):
            configs.append(config)
            return scripted_method(text, config, shape)

        monkeypatch.setattr("reasonseg_ros.methods.loading.load_method", load)
        return configs

    return use


def test_the_same_models_answer_identically(loaded, box_file, capsys):
    loaded()
    assert cli.main(["replay", str(box_file)]) == 0
    output = capsys.readouterr().out
    assert "q1 'where is it?': identical" in output and "1 answers: 1 identical" in output
    assert "changed" not in output


@pytest.mark.parametrize(
    ("text", "shape", "stated"),
    [
        (TEXT.replace("there", "here"), "box", "text from character 13 on: 'there."),
        (TEXT.replace("[8, 8, 24, 24]", "[8, 8, 30, 24]"), "box", "boxes and points by up to 6 px"),
        ("<think>It is there.</think><answer>[]</answer>", "box", "status ok -> no_target"),
        (TEXT, "ellipse", "masks with an IoU of 0.6"),
        ("what?", "box", "status ok -> unparsable"),
    ],
)
def test_what_differs_is_named_by_its_stage(loaded, box_file, capsys, text, shape, stated):
    loaded(text, shape)
    assert cli.main(["replay", str(box_file)]) == 1
    output = capsys.readouterr().out
    assert "differs: " in output and stated in output
    assert "1 differs" in output


def test_tolerances_are_stated_and_kept(loaded, box_file, capsys):
    loaded(TEXT.replace("[8, 8, 24, 24]", "[8, 8, 25, 24]"))
    options = ["--any-text", "--mask-iou", "0.9"]
    assert cli.main(["replay", str(box_file), *options]) == 0
    assert "within tolerance: text from character" in capsys.readouterr().out
    assert cli.main(["replay", str(box_file), *options, "--box-px", "0.5"]) == 1
    assert cli.main(["replay", str(box_file), "--any-text"]) == 1  # the masks are too far apart
    assert cli.main(["replay", str(box_file), "--mask-iou", "0.9"]) == 1  # the texts are


def test_settings_are_the_recorded_ones_unless_an_option_changes_them(loaded, tmp_path, capsys):
    recorded = black_box()
    recorded = replace(recorded, settings={**recorded.settings, "segmenter.refine": "none", "reasoner.old": 1})
    path = write_box(tmp_path / "box.mcap", recorded)
    configs = loaded()
    assert cli.main(["replay", str(path), "--backend", "torch", "--set", "reasoner.dtype=float32"]) == 0
    (config,) = configs
    assert (config.segmenter.refine, config.segmenter.backend, config.reasoner.backend) == ("none", "torch", "local")
    assert config.reasoner.dtype == "float32"
    output = capsys.readouterr().out
    assert "changed: reasoner.backend auto -> local" in output and "changed: reasoner.dtype auto -> float32" in output
    assert "changed: reasoner.old is no parameter here" in output


def test_settings_of_other_methods_are_the_recorded_ones_too(loaded, tmp_path):
    """Otherwise another number of candidates, or another limit for positions, would look like a fault of the models."""
    recorded = black_box()
    chosen = {"candidates.samples": 3, "selection.model": "other", "points.min_valid_share": 0.05}
    configs = loaded()
    path = write_box(tmp_path / "box.mcap", replace(recorded, settings={**recorded.settings, **chosen}))
    assert cli.main(["replay", str(path)]) == 0
    (config,) = configs
    now = {name: value for name, _, value in settings(config)}
    assert {name: now[name] for name in chosen} == chosen


def test_another_prompt_file_is_named(tmp_path):
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("Find: {query}")
    config = config_from({"reasoner.prompt_file": str(prompt)})
    before = conditions_of(config)
    prompt.write_text("Seek: {query}")
    (line,) = differences(before, conditions_of(config))
    assert line.startswith("named_files_sha256 reasoner.prompt_file ")


def test_other_weights_and_versions_are_named(loaded, tmp_path, capsys):
    recorded = black_box()
    conditions = {**recorded.conditions, "versions": {**recorded.conditions["versions"], "numpy": "0.1"}}
    files = {**conditions["reasoner"]["files_sha256"], "model.safetensors": "0" * 64}
    conditions["reasoner"] = {**conditions["reasoner"], "files_sha256": files}
    path = write_box(tmp_path / "box.mcap", replace(recorded, conditions=conditions))
    loaded()
    assert cli.main(["replay", str(path)]) == 0
    output = capsys.readouterr().out
    assert "changed: versions numpy 0.1 -> " in output
    assert "changed: reasoner files_sha256 model.safetensors 000000000000 -> " in output


def test_prompts_are_repeated_without_the_reasoner(tmp_path, loaded):
    loaded("never said")
    assert cli.main(["replay", str(write_box(tmp_path / "box.mcap", prompted_box()))]) == 0


def test_an_answer_that_no_method_gave_cannot_be_given_again(loaded, tmp_path, capsys):
    loaded()
    box = replace(black_box(), asked="", segmentation=None, status="no_frame", error="no image within 5 s")
    assert cli.main(["replay", str(write_box(tmp_path / "box.mcap", box))]) == 1
    assert "not answered: no method was asked: it ended as no_frame (no image within 5 s)" in capsys.readouterr().out


def test_a_foreign_file_is_refused_before_models_are_loaded(box_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("reasonseg_ros.methods.loading.load_method", lambda config, **_: pytest.fail("loaded"))
    (tmp_path / "text.mcap").write_text("hello")
    assert cli.main(["replay", str(box_file), str(tmp_path / "text.mcap")]) == cli.USAGE_ERROR
    assert "no MCAP file" in capsys.readouterr().err


def test_models_are_loaded_once_for_the_same_settings(loaded, tmp_path, box_file):
    configs = loaded()
    other = write_box(tmp_path / "other.mcap", black_box("q2"))
    assert cli.main(["replay", str(box_file), str(other)]) == 0
    assert len(configs) == 1


def test_the_recorded_time_limit_does_not_decide_the_answer(box_file):
    limits = []

    def load(config):
        limits.append(config.reasoner.time_limit_s)
        return scripted_method(config=config)

    (box,) = read_black_boxes(box_file)
    assert Replay(load, {}).run(box).is_same and limits == [3600.0]


def test_the_confidence_is_compared_by_its_difference():
    before = black_box().segmentation
    stage = {}
    for confidence in (0.7, 0.705, 0.9, None):
        answer = replace(before.answer, confidence=confidence)
        known = replace(before, answer=replace(before.answer, confidence=0.7))
        stages = compared(known, replace(before, answer=answer), Tolerance())
        stage[confidence] = next(one for one in stages if one.name == "confidence")
    assert [stage[c].is_same for c in (0.7, 0.705, 0.9, None)] == [True, True, False, False]
    assert stage[0.705].difference == "confidence 0.7000 -> 0.7050" and not stage[0.7].difference


def test_another_number_of_targets_differs():
    before = black_box().segmentation
    none = replace(before, answer=Answer(Status.NO_TARGET, raw_text=before.answer.raw_text), regions=())
    names = {stage.name for stage in compared(before, none, Tolerance()) if not stage.is_same}
    assert names == {"status", "boxes", "masks"}


def test_options_become_parameters():
    from reasonseg_ros.cli import _parser

    values = ["replay", "x", "--model", "m", "--segmenter", "s", "--method", "rev_seg", "--backend", "onnxruntime"]
    assert overrides(_parser().parse_args(values)) == {
        "reasoner.backend": "onnxruntime", "segmenter.backend": "onnxruntime", "reasoner.model": "m",
        "segmenter.model": "s", "method": "rev_seg",
    }  # fmt: skip
