"""A selection's folder: its graph scores masks, and its card refuses other models."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from reasonseg_ros.errors import InvalidInput, ModelError
from reasonseg_ros.selection.card import FILE_NAME, GRAPH, SelectionCard, read_selection_card
from reasonseg_ros.selection.choosing import SelectionRule
from reasonseg_ros.selection.selector import Selector
from reasonseg_ros.training.selection.model import ExportedFusion, Fusion, FusionSizes
from reasonseg_ros.training.selection.run import publish_selection

SIZES = FusionSizes(mask_features=20, state_width=12, width=16, heads=2, hidden=24)
DIGESTS = {"reasoner_sha256": "a" * 64, "segmenter_sha256": "b" * 64, "points_sha256": "c" * 64}


@pytest.fixture(scope="module")
def fusion():
    torch.manual_seed(0)
    fusion = Fusion(SIZES).eval()
    fusion.mean.normal_()
    return fusion


@pytest.fixture(scope="module")
def folder(fusion, tmp_path_factory):
    out = tmp_path_factory.mktemp("selection")
    rule = SelectionRule("iop", 0.5, 0.1)
    publish_selection(
        fusion, SelectionCard("", **DIGESTS, grid_wh=(12, 9), mask_features=20, state_width=12, rule=rule), out
    )
    return out


@pytest.mark.parametrize(("masks", "states"), [(1, 1), (7, 1), (30, 1), (5, 4)])
def test_the_graph_gives_the_scores_of_torch(folder, fusion, masks, states):
    rng = np.random.default_rng(masks)
    given = rng.normal(size=(masks, 20)).astype(np.float32), rng.normal(size=(states, 12)).astype(np.float32)
    with torch.no_grad():
        iop, similarity = ExportedFusion(fusion)(*map(torch.from_numpy, given))
    found = Selector(folder).select(*given)
    np.testing.assert_allclose(found.iop, iop, atol=3e-3)  # weights are stored as float16
    np.testing.assert_allclose(found.similarity, similarity, atol=3e-3)
    assert found.chosen.tolist() == SelectionRule("iop", 0.5, 0.1).choose(found.iop, found.similarity).tolist()


def test_the_order_of_masks_does_not_matter(folder):
    rng = np.random.default_rng(9)
    masks, state = rng.normal(size=(6, 20)).astype(np.float32), rng.normal(size=(1, 12)).astype(np.float32)
    order = np.array([3, 0, 5, 1, 4, 2])
    one, two = (Selector(folder).select(given, state) for given in (masks, masks[order]))
    np.testing.assert_allclose(one.iop[order], two.iop, atol=1e-5)


def test_without_masks_nothing_is_chosen(folder):
    found = Selector(folder).select(np.zeros((0, 20), np.float32), np.zeros((1, 12), np.float32))
    assert len(found.iop) == len(found.chosen) == 0


def test_other_widths_are_refused(folder):
    with pytest.raises(InvalidInput, match="masks of width 21 and states of width 12; expected 20 and 12"):
        Selector(folder).select(np.zeros((2, 21), np.float32), np.zeros((1, 12), np.float32))


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("reasoner_sha256", "other weights of the reasoner"),
        ("segmenter_sha256", "other weights of the segmenter"),
        ("points_sha256", "other weights of the segmenter's graph for points"),
    ],
)
def test_other_models_are_refused(folder, part, words):
    card = read_selection_card(folder)
    card.check_models(**DIGESTS)
    with pytest.raises(ModelError, match=words):
        card.check_models(**DIGESTS | {part: "d" * 64})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda values: values.pop("rule"), "rule"),
        (lambda values: values.update(version=1), "expected version 2"),
        (lambda values: values.update(mask_features="20"), "mask_features = '20'"),
        (lambda values: values["rule"].update(selection="best"), "selection 'best'"),
        (lambda values: values.update(graph_sha256="0" * 64), "not the one"),
    ],
)
def test_a_damaged_card_is_refused(folder, tmp_path, change, words):
    values = json.loads((folder / FILE_NAME).read_text())
    change(values)
    (tmp_path / FILE_NAME).write_text(json.dumps(values))
    (tmp_path / GRAPH).write_bytes((folder / GRAPH).read_bytes())
    with pytest.raises(ModelError, match=words):
        Selector(tmp_path)


def test_a_folder_without_a_card_is_refused(tmp_path):
    with pytest.raises(ModelError, match="reasonseg train selection"):
        Selector(tmp_path)
