"""Which tracker a configuration gets."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Sam2Model

from reasonseg_ros.config import config_from
from reasonseg_ros.errors import ModelError
from reasonseg_ros.export.sources import load_memory, load_source
from reasonseg_ros.methods.tracking import load_tracker
from reasonseg_ros.model_card import load_card
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.segmenter.refinement import RefinedTracker
from reasonseg_ros.segmenter.reprompting import RepromptTracker
from reasonseg_ros.segmenter.track_states import TrackState
from reasonseg_ros.segmenter.tracker import MemoryTracker
from reasonseg_ros.settings import Settings
from reasonseg_ros.training.segmenter.memory.model import new_video_model
from reasonseg_ros.training.segmenter.model import small_config
from reasonseg_ros.types import Grounding

RGB = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    image = Sam2Model(small_config(64))
    image.save_pretrained(folder / "image")
    new_video_model(image, 64, 0).save_pretrained(folder / "video")
    return {name: folder / name for name in ("image", "video")}


@pytest.mark.parametrize(
    ("checkpoint", "mode", "refine", "expected"),
    [
        ("image", "auto", "none", RepromptTracker),
        ("image", "reprompt", "edges", RepromptTracker),
        ("video", "reprompt", "none", RepromptTracker),
        ("video", "auto", "none", MemoryTracker),
        ("video", "memory", "edges", RefinedTracker),
    ],
)
def test_the_tracker_is_chosen(
    checkpoints: dict[str, Path], checkpoint: str, mode: str, refine: str, expected: type
) -> None:
    settings = {"segmenter.model": str(checkpoints[checkpoint]), "segmenter.refine": refine, "tracker.mode": mode}
    config = config_from({**settings, "segmenter.device": "cpu"})
    segmenter = load_segmenter(config.segmenter)
    make = load_tracker(config, segmenter)
    one, two = make(), make()
    assert type(one) is expected and one is not two
    prompts = [Grounding(np.array([8, 8, 40, 40], np.float32))]
    assert [track.track_id for track in one.add(segmenter.encode(RGB), prompts, 0)] == [1]
    assert [track.mask.shape for track in one.step(segmenter.encode(RGB), 1)] == [(48, 64)]
    assert two.step(segmenter.encode(RGB), 1) == []


@pytest.mark.parametrize(("mode", "refine"), [("reprompt", "none"), ("memory", "none"), ("memory", "edges")])
def test_changed_settings_apply_to_running_trackers(mode: str, refine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded segmenter follows one red square as two targets, whose masks may overlap at first."""
    values = {"tracker.mode": mode, "segmenter.refine": refine}
    settings = Settings(config_from({**values, "tracker.overlap": True}))
    segmenter = load_segmenter(settings.now.segmenter)
    tracker = load_tracker(settings, segmenter)()
    rgb = np.full((240, 320, 3), 120, np.uint8)
    square = np.s_[90:150, 130:190]
    rgb[square] = 200, 30, 30
    mask = np.zeros(rgb.shape[:2], bool)
    mask[square] = True
    read: list[object] = []
    monkeypatch.setattr(TrackState, "after", lambda self, seen, stamp, lost_after_s: read.append(lost_after_s) or self)
    prompt = Grounding(np.array([130, 90, 190, 150], np.float32))
    features = segmenter.encode(rgb)
    tracker.add(features, [prompt, prompt], 0, [mask, mask])

    def shared_px() -> int:
        one, two = (track.mask for track in tracker.step(features, 1))
        return int((one & two).sum())

    assert shared_px() > 1000
    settings.change(config_from({**values, "tracker.overlap": False, "tracker.lost_after_s": 9.0}))
    assert shared_px() == 0
    assert read == [3.0, 3.0, 9.0, 9.0]


def test_the_tracker_loads_no_second_image_encoder(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    full = load_source(str(checkpoints["video"])).model.state_dict()
    rest = {name: value for name, value in full.items() if not name.startswith("vision_encoder.backbone.")}
    assert 0 < len(rest) < len(full)
    shutil.copy(checkpoints["video"] / "config.json", tmp_path)
    save_file(
        {name: value.contiguous() for name, value in rest.items()}, tmp_path / "model.safetensors", {"format": "pt"}
    )
    loaded = load_memory(load_card(str(tmp_path), "segmenter"), offline=True).state_dict()
    assert loaded.keys() == rest.keys()
    assert all(torch.equal(loaded[name], value) for name, value in rest.items())


def test_a_tracker_whose_memory_is_missing_is_refused(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    weights = load_file(checkpoints["video"] / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("memory_attention.")}
    assert len(kept) < len(weights)
    shutil.copy(checkpoints["video"] / "config.json", tmp_path)
    save_file(kept, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="weights are missing, memory_attention"):
        load_memory(load_card(str(tmp_path), "segmenter"))


def test_a_checkpoint_without_memory_is_named(checkpoints: dict[str, Path]) -> None:
    settings = {"segmenter.model": str(checkpoints["image"]), "segmenter.device": "cpu", "tracker.mode": "memory"}
    config = config_from(settings)
    with pytest.raises(ModelError, match=r"image was exported or trained without SAM2's memory; set tracker\.mode"):
        load_tracker(config, load_segmenter(config.segmenter))
