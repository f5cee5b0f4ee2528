"""A training is continued by the same training only."""

import inspect
import json
from dataclasses import replace
from pathlib import Path

import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.training.continuing import begin_or_continue, check_training
from reasonseg_ros.training.reasoner import run as reasoner
from reasonseg_ros.training.reasoner.plan import ReasonerPlan
from reasonseg_ros.training.segmenter import run as segmenter
from reasonseg_ros.training.segmenter.memory import run as memory
from reasonseg_ros.training.segmenter.points import run as points

SETTINGS = {"seed": 1, "rate": 0.1, "stages": ("a", 2), "steps": 10}


def test_the_same_settings_continue_and_are_kept_with_the_versions(tmp_path):
    folder = tmp_path / "new" / "run"
    for has_state in (False, True, True):
        begin_or_continue(folder, "segmenter", SETTINGS, has_state)
    kept = json.loads((folder / "plan.json").read_text())
    assert kept["settings"] == {"training": "segmenter", "seed": 1, "rate": 0.1, "stages": ["a", 2], "steps": 10}
    assert set(kept["versions"]) == {"reasonseg_ros", "torch"}
    check_training(folder, "segmenter")


@pytest.mark.parametrize(
    ("training", "change", "said"),
    [
        ("segmenter", {"seed": 2}, "seed 1, not 2"),
        ("segmenter", {"stages": ("a", 3)}, r"stages \['a', 2\], not \['a', 3\]"),
        ("segmenter", {"added": True}, "added None, not True"),
        ("points", {}, "training 'segmenter', not 'points'"),
    ],
)
def test_another_training_is_refused_and_the_settings_stay(tmp_path, training, change, said):
    begin_or_continue(tmp_path, "segmenter", SETTINGS, False)
    before = (tmp_path / "plan.json").read_bytes()
    with pytest.raises(InvalidInput, match=f"another training, with {said}"):
        begin_or_continue(tmp_path, training, {**SETTINGS, **change}, True)
    assert (tmp_path / "plan.json").read_bytes() == before


def test_settings_without_a_state_are_replaced(tmp_path):
    """As of a command that named the wrong data and ended at once."""
    begin_or_continue(tmp_path, "segmenter", SETTINGS, False)
    begin_or_continue(tmp_path, "segmenter", {**SETTINGS, "seed": 2}, False)
    assert json.loads((tmp_path / "plan.json").read_text())["settings"]["seed"] == 2


def test_a_setting_that_may_change_is_written(tmp_path):
    begin_or_continue(tmp_path, "segmenter", SETTINGS, False, ("steps",))
    begin_or_continue(tmp_path, "segmenter", {**SETTINGS, "steps": 20}, True, ("steps",))
    assert json.loads((tmp_path / "plan.json").read_text())["settings"]["steps"] == 20


@pytest.mark.parametrize("text", [None, "[]", '{"settings": 3}', '{"settings"'])
def test_a_state_without_its_settings_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "plan.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"without its settings in plan\.json|plan\.json is not JSON"):
        begin_or_continue(tmp_path, "segmenter", SETTINGS, True)
    with pytest.raises(InvalidInput):
        check_training(tmp_path, "segmenter")


def test_the_same_folder_of_data_may_be_named_from_another_place(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    begin_or_continue(tmp_path / "run", "segmenter", {"data": tmp_path / "data"}, False)
    monkeypatch.chdir(tmp_path)
    begin_or_continue(tmp_path / "run", "segmenter", {"data": Path("data")}, True)
    begin_or_continue(tmp_path / "named", "sft", {"model": Path("owner/name")}, False)  # not a folder, but of a hub
    monkeypatch.chdir("/")
    begin_or_continue(tmp_path / "named", "sft", {"model": Path("owner/name")}, True)


@pytest.mark.parametrize(
    ("train", "name"),
    [
        (lambda data, run, seed: segmenter.train_segmenter([data], run, run / "out", seed), "segmenter"),
        (lambda data, run, seed: points.train_points(data, run, run / "out", seed=seed), "points"),
        (lambda data, run, seed: memory.train_memory(data, data, data, run, run / "out", seed), "memory"),
    ],
)
def test_each_training_of_the_segmenter_refuses_the_folder_of_another(tmp_path, monkeypatch, train, name):
    class Begun(Exception):
        pass

    def begun(*_):
        raise Begun

    for module, run in ((segmenter, "SegmenterRun"), (points, "PointRun"), (memory, "MemoryRun")):
        monkeypatch.setattr(module, run, begun)
    with pytest.raises(Begun):
        train(tmp_path / "data", tmp_path / "run", 0)
    (tmp_path / "run/state.pt").touch()
    with pytest.raises(Begun):
        train(tmp_path / "data", tmp_path / "run", 0)
    with pytest.raises(InvalidInput, match="with seed 0, not 1"):
        train(tmp_path / "data", tmp_path / "run", 1)
    with pytest.raises(InvalidInput, match="data"):
        train(tmp_path / "other", tmp_path / "run", 0)
    begin_or_continue(tmp_path / "another", "reasoner", {}, False)
    (tmp_path / "another/state.pt").touch()
    with pytest.raises(InvalidInput, match=f"training 'reasoner', not '{name}'"):
        train(tmp_path / "data", tmp_path / "another", 0)


@pytest.mark.parametrize(
    "export",
    [
        lambda run: segmenter.export_run(run, run / "out"),
        lambda run: points.export_points(run, run / "out"),
        lambda run: memory.export_memory(run, run, run / "out"),
    ],
)
def test_an_unfinished_run_of_another_training_is_not_exported(tmp_path, export):
    begin_or_continue(tmp_path, "reasoner", {}, False)
    (tmp_path / "state.pt").touch()
    with pytest.raises(InvalidInput, match="another training, 'reasoner' instead of"):
        export(tmp_path)


def test_the_reasoner_s_training_refuses_other_settings_but_not_a_larger_budget(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(reasoner, "_run", lambda process, plan, meeting: begun.append(plan.steps))
    plan = ReasonerPlan(tmp_path / "scenes", tmp_path / "out", tmp_path / "work", steps=4)
    reasoner.train_reasoner(plan)
    reasoner.train_reasoner(replace(plan, steps=9, threads=2))
    assert begun == [4, 9]
    (plan.work / "reasoner.pt").touch()
    for change in ({"seed": 5}, {"start": tmp_path / "reasoner.pt"}, {"videos": tmp_path}, {"phrasing": "wide"}):
        with pytest.raises(InvalidInput, match="another training, with " + next(iter(change))):
            reasoner.train_reasoner(replace(plan, **change))


def test_every_training_that_keeps_a_state_compares_its_settings():
    """A new training has to, too: whoever loads a state module calls this one, or is called by one that does."""
    root = Path(inspect.getfile(begin_or_continue)).parent
    loads = {
        path for path in root.rglob("*.py") if "torch.load(" in path.read_text() or "resume_from" in path.read_text()
    }
    compares = {path for path in root.rglob("*.py") if "begin_or_continue(" in path.read_text()}
    indirectly = {root / "reasoner/trainer.py", root / "segmenter/memory/run.py"}  # through the run beside them
    assert loads - compares == indirectly
