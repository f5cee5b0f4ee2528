"""SAM2's tracker over torch's own graphs, compared with transformers' streaming session."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from transformers import Sam2VideoModel
from transformers.models.sam2_video.modeling_sam2_video import Sam2VideoInferenceSession

from reasonseg_ros.config.models import TrackerConfig
from reasonseg_ros.engine.manifest import Memory
from reasonseg_ros.errors import InvalidInput, ModelError
from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.methods.tracking import torch_graphs, torch_maps
from reasonseg_ros.segmenter.port import Features, Track
from reasonseg_ros.segmenter.sam2 import preprocess
from reasonseg_ros.segmenter.tracker import MemoryTracker
from reasonseg_ros.training.segmenter.memory.model import video_config
from reasonseg_ros.training.segmenter.model import small_config
from reasonseg_ros.types import BoolMask, Grounding, RgbImage

SIZE_PX = 64
FRAMES = 60
LATE = 7
BOXES_XYXY = ((6, 10, 40, 44), (20, 4, 60, 30), (2, 30, 50, 62))
BACKGROUND_SHIFT = 0.05


@pytest.fixture(scope="module")
def model() -> Sam2VideoModel:
    """Random weights whose masks have edges and hang on the memory, and that always think that the target is there."""
    torch.manual_seed(0)
    model = Sam2VideoModel(video_config(small_config(SIZE_PX), SIZE_PX)).eval().requires_grad_(False)
    for weight in model.parameters():
        fan_in = weight[0].numel() if weight.ndim > 1 else 1
        if weight.ndim > 1:
            weight.copy_(torch.randn(weight.shape) / fan_in**0.5)
        else:
            weight.add_(0.1 * torch.randn(weight.shape))
    attention = model.memory_attention.layers[0].cross_attn_image
    attention.q_proj.weight.mul_(4)
    attention.o_proj.weight.mul_(20)
    # Image and prompts are located by one matrix; transformers draws two.
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(model.shared_image_embedding.positional_embedding)
    model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(30.0)
    return model


@pytest.fixture(scope="module")
def frames() -> list[RgbImage]:
    """Coarse noise that changes a little from frame to frame."""
    rng = np.random.default_rng(0)
    scene = rng.uniform(0, 255, (SIZE_PX // 8, SIZE_PX // 8, 3))
    images = []
    for _ in range(FRAMES):
        scene = np.clip(scene + rng.normal(0, 255 * BACKGROUND_SHIFT, scene.shape), 0, 255)
        images.append(np.ascontiguousarray(scene.repeat(8, 0).repeat(8, 1).astype(np.uint8)))
    return images


def tracker(model: Sam2VideoModel, **settings: object) -> MemoryTracker:
    graphs = torch_graphs(model, SIZE_PX, False, torch.device("cpu"), torch.float32)
    memory = Memory(model.num_maskmem, model.config.max_object_pointers_in_encoder, model.mem_dim)
    config = partial(TrackerConfig, **{"overlap": True, **settings})
    return MemoryTracker(graphs, memory, SIZE_PX, config, torch_maps(model, torch.device("cpu"), torch.float32))


@torch.inference_mode()
def encode(model: Sam2VideoModel, rgb: RgbImage) -> Features:
    maps = model.get_image_embeddings(torch.from_numpy(preprocess(rgb, SIZE_PX)[None]))
    return Features(list(maps), (rgb.shape[1], rgb.shape[0]))


def grounding(box_xyxy: tuple[int, ...]) -> Grounding:
    return Grounding(np.array(box_xyxy, np.float32))


@torch.inference_mode()
def session_masks(
    model: Sam2VideoModel, frames: list[RgbImage], prompts: dict[int, list[tuple[int, ...]]]
) -> list[list[BoolMask]]:
    """Masks of every target in every frame, by transformers itself."""
    session = Sam2VideoInferenceSession(video_height=SIZE_PX, video_width=SIZE_PX, dtype=torch.float32)
    found, next_id = [], 0
    for index, rgb in enumerate(frames):
        for box_xyxy in prompts.get(index, []):
            corners = torch.tensor(box_xyxy, dtype=torch.float32).reshape(1, 1, 2, 2)
            labels = torch.tensor([[[2, 3]]], dtype=torch.int32)
            row = session.obj_id_to_idx(next_id)
            session.add_point_inputs(row, index, {"point_coords": corners, "point_labels": labels})
            session.obj_with_new_inputs.append(next_id)
            next_id += 1
        output = model(session, frame=torch.from_numpy(preprocess(rgb, SIZE_PX)[None]))
        large = torch.nn.functional.interpolate(output.pred_masks, (SIZE_PX, SIZE_PX), mode="bilinear")
        found.append([mask.numpy() > 0 for mask in large[:, 0]])
    return found


def test_equals_transformers_session(model, frames, monkeypatch):
    prompts = {0: list(BOXES_XYXY[:2]), LATE: [BOXES_XYXY[2]]}
    remember = Sam2VideoModel._batch_encode_memories

    def remember_each(model, inference_session, frame_idx, **values):
        # All at once, a prompt for one target would have the masks of all remembered like answers to prompts.
        for one in zip(*values.values(), strict=True):
            remember(model, inference_session, frame_idx, *([value] for value in one))

    with monkeypatch.context() as patch:
        patch.setattr(Sam2VideoModel, "_batch_encode_memories", remember_each)
        # The session rounds memories to bfloat16, which random weights make much of.
        patch.setattr(torch, "bfloat16", torch.float32)
        expected = session_masks(model, frames, prompts)
    ours, found = tracker(model), []
    for index, rgb in enumerate(frames):
        features = encode(model, rgb)
        tracks = ours.step(features, index)
        tracks += ours.add(features, [grounding(box) for box in prompts.get(index, [])], index)
        found.append([track.mask for track in tracks])
    assert [len(masks) for masks in found] == [2] * LATE + [3] * (FRAMES - LATE)
    pairs = [pair for masks, others in zip(found, expected, strict=True) for pair in zip(masks, others, strict=True)]
    assert min(mask_iou(*pair) for pair in pairs) >= 0.995
    # Masks that are all alike would be equal whatever the memory did.
    assert np.mean([mask_iou(masks[0], masks[1]) for masks in found]) < 0.95
    assert np.mean([mask_iou(found[i][0], found[i + 1][0]) for i in range(FRAMES - 1)]) < 0.95


def follow(tracker: MemoryTracker, model: Sam2VideoModel, frames: list[RgbImage], first: int = 1) -> list[list[Track]]:
    return [tracker.step(encode(model, rgb), first + index) for index, rgb in enumerate(frames)]


def assert_same(tracks: list[Track], others: list[Track]) -> None:
    assert len(tracks) == len(others)
    for track, other in zip(tracks, others, strict=True):
        assert mask_iou(track.mask, other.mask) > 0.999
        assert track.score == pytest.approx(other.score, abs=1e-4)


def test_removed_targets_leave_the_others_as_they_are(model, frames):
    whole, part = tracker(model), tracker(model)
    whole.add(encode(model, frames[0]), [grounding(box) for box in BOXES_XYXY], 0)
    part.add(encode(model, frames[0]), [grounding(box) for box in BOXES_XYXY[1:]], 0)
    follow(whole, model, frames[1:4])
    follow(part, model, frames[1:4])
    whole.remove([1])
    ours, others = (follow(t, model, frames[4:7], 4) for t in (whole, part))
    assert [track.track_id for track in ours[-1]] == [2, 3]
    for tracks, expected in zip(ours, others, strict=True):
        assert_same(tracks, expected)
    with pytest.raises(InvalidInput, match="track 1 is not tracked; tracked: "):
        whole.remove([1])
    added = whole.add(encode(model, frames[7]), [grounding(BOXES_XYXY[0])], 7)
    assert [track.track_id for track in added] == [4], "ids are not used twice"


def test_small_batches_change_nothing(model, frames):
    one, several = tracker(model), tracker(model)
    for graph in several._graphs.values():
        graph.largest = {"N": 2}
    for t in (one, several):
        t.add(encode(model, frames[0]), [grounding(box) for box in BOXES_XYXY], 0)
    for tracks, others in zip(*(follow(t, model, frames[1:4]) for t in (one, several)), strict=True):
        assert_same(tracks, others)


def test_memory_does_not_grow(model, frames):
    ours = tracker(model)
    ours.add(encode(model, frames[0]), [grounding(box) for box in BOXES_XYXY], 0)
    shapes = [tuple(ring.values.shape) for ring in (ours._bank._features, ours._bank._pointers)]
    assert shapes == [(3, model.num_maskmem, 16, 64), (3, model.config.max_object_pointers_in_encoder, 128)]
    features = [encode(model, rgb) for rgb in frames[:3]]
    for index in range(1, 40):
        ours.step(features[index % 3], index)
        ours.remove([ours.add(features[index % 3], [grounding(BOXES_XYXY[0])], index)[0].track_id])
    assert ours._bank.count == 3
    assert ours._bank._features.values.shape[0] <= 6, "room for one more target was doubled once"


def test_a_given_mask_is_what_is_remembered(model, frames):
    mask = np.zeros((SIZE_PX, SIZE_PX), bool)
    mask[8:40, 12:36] = True
    at = encode(model, frames[0])
    ours, other = tracker(model), tracker(model)
    [given] = ours.add(at, [grounding(BOXES_XYXY[0])], 0, masks=[mask])
    assert mask_iou(given.mask, mask) > 0.95
    other.add(at, [grounding(BOXES_XYXY[0])], 0)
    following = [t.step(encode(model, frames[1]), 1)[0].mask for t in (ours, other)]
    assert mask_iou(*following) < 0.999


def test_a_target_out_of_sight_has_no_mask_and_is_lost_in_time(model, frames):
    ours = tracker(model, lost_after_s=2.0)
    at = encode(model, frames[0])
    score = model.mask_decoder.pred_obj_score_head.proj_out.bias
    ours.add(at, [grounding(BOXES_XYXY[0])], 0)
    decoder = ours._graphs["decoder"]._module.decoder.pred_obj_score_head.proj_out.bias
    assert torch.equal(decoder, score)
    reported = []
    for second, bias in enumerate((30.0, -60.0, -60.0, -60.0, 30.0), 1):
        with torch.inference_mode():
            decoder.fill_(bias)
        [track] = ours.step(encode(model, frames[second]), second * 10**9)
        reported.append(
            (track.state, track.since_ns // 10**9, track.seen_ns // 10**9, bool(track.mask.any()), track.score > 0)
        )
    assert reported == [
        ("tracked", 1, 1, True, True),
        ("occluded", 2, 1, False, False),
        ("occluded", 2, 1, False, False),
        ("lost", 4, 1, False, False),
        ("tracked", 5, 5, True, True),
    ]
    ours.reset()
    assert ours.step(at, 9 * 10**9) == []


def test_a_target_whose_pixels_another_takes_becomes_occluded_then_lost(model, frames):
    two = tracker(model, overlap=False, lost_after_s=1.0)
    features = encode(model, frames[0])
    two.add(features, [grounding(BOXES_XYXY[0])] * 2, 0)  # the same prompt twice: the first is at least as sure
    states = [[(track.state, bool(track.mask.any())) for track in two.step(features, s * 10**9)] for s in (1, 2, 3)]
    assert [first for first, _ in states] == [("tracked", True)] * 3
    assert [second for _, second in states] == [("occluded", False), ("lost", False), ("lost", False)]


@pytest.mark.parametrize("output", ["masks", "iou", "object_score"])
def test_numbers_that_are_not_finite_are_an_error_with_their_stage(model, frames, output):
    damaged = tracker(model)
    features = encode(model, frames[0])
    damaged.add(features, [grounding(BOXES_XYXY[0])], 0)
    decoder = damaged._graphs["decoder"]

    class Damaged:
        largest = decoder.largest

        def run(self, inputs, keep=()):
            found = decoder.run(inputs, keep)
            found[output] = np.full_like(found[output], np.nan)
            return found

    damaged._graphs = {**damaged._graphs, "decoder": Damaged()}
    with pytest.raises(ModelError, match=f"tracker's mask decoder: {output} holds numbers that are not finite"):
        damaged.step(features, 1)
