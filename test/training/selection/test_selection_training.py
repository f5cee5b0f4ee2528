"""Training of the selection: losses, learning, resuming, and the rule that is chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.reasoner.thoughts import Thought
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter
from reasonseg_ros.selection.choosing import SelectionRule
from reasonseg_ros.training.rendered.scenes import SceneFiles
from reasonseg_ros.training.selection.examples import SelectionExample, collect_selection, read_selection_examples
from reasonseg_ros.training.selection.model import selection_loss
from reasonseg_ros.training.selection.run import SelectionPlan, batch_of, drawn, train_fusion
from reasonseg_ros.training.selection.validation import best_rule, mean_iou, selection_scores


def example(seed, masks=4, features=6):
    """The question names the first number of one mask's vector."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(masks, features)).astype(np.float32)
    target = int(rng.integers(masks))
    low_res = np.zeros((masks, 8, 8), bool)
    for index in range(masks):
        low_res[index, 2 * index : 2 * index + 2] = True
    hit = (np.arange(masks) == target).astype(np.float32)
    state = np.array([vectors[target, 0], 1, 0], np.float32)
    return SelectionExample(seed, "attribute", f"q{seed}", vectors, state, hit, hit, low_res, low_res[target])


def plan_in(folder, **changes):
    plan = SelectionPlan(folder, folder, folder, folder, steps=20, batch=8, width=16, rate=1e-2)
    return replace(plan, **changes)


def test_the_losses_are_the_published_ones():
    rng = np.random.default_rng(0)
    logits, similarity = rng.normal(size=(2, 3)), rng.uniform(-1, 1, (2, 3))
    iou, iop = rng.uniform(0.2, 1, (2, 3)), rng.uniform(0, 1, (2, 3))
    hidden = np.array([[False, False, False], [False, False, True]])
    given = [torch.tensor(values, dtype=torch.float32) for values in (logits, similarity)]
    found = selection_loss(*given, torch.tensor(hidden), *(torch.tensor(v, dtype=torch.float32) for v in (iou, iop)))
    divergences, regressions = [], []
    for row in range(2):
        seen = ~hidden[row]
        wanted, given_scores = softmax(iou[row, seen] / 0.05), softmax(similarity[row, seen] / 0.05)
        divergences.append(rel_entr(wanted, given_scores).sum())
        p = 1 / (1 + np.exp(-logits[row, seen]))
        regressions.append((np.exp(iop[row, seen] - 1) * (p - iop[row, seen]) ** 2).mean())
    assert found[0].item() == pytest.approx(np.mean(divergences), rel=1e-3)
    assert found[1].item() == pytest.approx(50 * np.mean(regressions), rel=1e-4)


def test_padding_changes_nothing():
    small, large = example(1, masks=2), example(2, masks=4)
    masks, states, hidden, _, _ = batch_of([small, large])
    assert masks.shape == (2, 4, 6) and hidden.sum() == 2
    fusion = train_fusion(plan_in_memory(), [small, large])
    together = fusion(masks, states, hidden)
    alone = fusion(*(values[:1] for values in batch_of([small])[:2]))
    torch.testing.assert_close(together[0][0, :2], alone[0][0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together[1][0, :2], alone[1][0], atol=1e-5, rtol=1e-4)


def plan_in_memory():
    import tempfile
    from pathlib import Path

    return plan_in(Path(tempfile.mkdtemp()), steps=1)


def test_a_batch_holds_alike_numbers_of_masks_and_every_example_is_drawn(tmp_path):
    plan = plan_in(tmp_path, batch=4)
    counts = np.arange(100) % 20
    batches = [drawn(counts, plan, step) for step in range(800)]
    assert {int(index) for batch in batches for index in batch} == set(range(100))
    spread = np.mean([np.ptp(counts[batch]) for batch in batches])
    assert spread < 4  # 11 without the pool
    assert not np.array_equal(batches[0], batches[8])


def test_it_learns_which_mask_is_meant(tmp_path):
    examples = [example(seed) for seed in range(60)]
    scores = selection_scores(train_fusion(plan_in(tmp_path, steps=150, batch=16), examples), examples)
    right = np.mean([one.iop.argmax() == iop.argmax() for one, (iop, _) in zip(examples, scores, strict=True)])
    assert right > 0.5  # 0.25 by chance
    rule, by_selection = best_rule(examples, scores)
    assert mean_iou(rule, examples, scores) == max(by_selection.values()) > 0.5


def test_a_stopped_training_ends_as_if_it_had_not_stopped(tmp_path):
    examples = [example(seed) for seed in range(12)]
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = train_fusion(plan_in(tmp_path / "whole"), examples)

    class Stopped(Exception):
        pass

    count = 0

    def stopping(batch):
        nonlocal count
        count += 1
        if count > 12:
            raise Stopped
        return batch_of(batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reasonseg_ros.training.selection.run.CHECKPOINT_STEPS", 5)
        patch.setattr("reasonseg_ros.training.selection.run.batch_of", stopping)
        with pytest.raises(Stopped):
            train_fusion(plan_in(tmp_path / "parts"), examples)
    again = train_fusion(plan_in(tmp_path / "parts"), examples)
    for one, two in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one, two)
    with pytest.raises(InvalidInput, match="another training"):
        train_fusion(plan_in(tmp_path / "parts", steps=30), examples)


class StateReasoner(Reasoner):
    """Thinks the same about everything."""

    name = "states"
    state_width = 5

    def answer(self, frame, text, call):
        raise NotImplementedError

    def think(self, frame, text, call=None):
        states, image_features = np.full((3, 5), len(text), np.float32), np.ones((2, 3, 4), np.float32)
        return Thought("a thought", 2, states, image_features, np.full((3, 2, 3), len(text) / 100, np.float32), 0.1)


def test_what_is_collected_is_read_with_its_truth(scene_folder, tmp_path, capsys):
    files = SceneFiles(scene_folder)
    scenes = [files[index] for index in range(2)]
    segmenter = ScriptedSegmenter("box")
    collect_selection(scenes, StateReasoner(), None, "train", tmp_path)
    assert list(read_selection_examples(tmp_path)) == []  # no masks yet
    collect_selection(scenes, StateReasoner(), segmenter, "train", tmp_path)
    examples = list(read_selection_examples(tmp_path))
    assert len(examples) > 8 and {one.seed for one in examples} == {0, 1}
    for one in examples:
        assert one.state.tolist() == [len(one.text)] * 5
        assert one.masks.shape == (len(one.low_res), 3 + 4 + 6 + 11 + 6)
        np.testing.assert_allclose(one.masks[:, -6:-3], np.log1p(6 * len(one.text) / 100), rtol=1e-4)
        assert (one.kind == "none") == (not one.truth.any())
        both = (one.low_res & one.truth).sum((1, 2))
        np.testing.assert_allclose(one.iop, both / one.low_res.sum((1, 2)), rtol=1e-5)
        assert (one.iou <= one.iop + 1e-6).all()
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    collect_selection(scenes, StateReasoner(), segmenter, "train", tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")} == written


def test_rightly_choosing_nothing_counts_as_one():
    one = replace(example(1), truth=np.zeros((8, 8), bool))
    low, high = np.full(4, 0.1, np.float32), np.full(4, 0.9, np.float32)
    rule = SelectionRule("iop", 0.5, 0.4)
    assert mean_iou(rule, [one], [(low, low)]) == 1
    assert mean_iou(rule, [one], [(high, high)]) == 0
