"""The configured tracker, over the features of the loaded segmenter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reasonseg_ros.config import Config
from reasonseg_ros.engine.manifest import MEMORY_GRAPHS, Memory, read_manifest
from reasonseg_ros.engine.port import Value
from reasonseg_ros.errors import ModelError
from reasonseg_ros.hub_cache import loads_locally
from reasonseg_ros.methods.port import MakeTracker
from reasonseg_ros.model_card import ModelCard, load_card
from reasonseg_ros.segmenter.loading import choose_backend, engine_options, refine_steps
from reasonseg_ros.segmenter.port import Features, Segmenter
from reasonseg_ros.segmenter.refinement import RefinedTracker, unrefined
from reasonseg_ros.segmenter.reprompting import RepromptTracker
from reasonseg_ros.segmenter.tracker import MemoryTracker
from reasonseg_ros.settings import Settings

TRACKER_GRAPHS = ("decoder", *MEMORY_GRAPHS)


def load_tracker(config: Config | Settings, segmenter: Segmenter) -> MakeTracker:
    """A factory of trackers, one for each answer; all of them share the models. They read `Settings` at each step, so
    later changes apply. `segmenter` is the result of `load_segmenter` for the same configuration, or a wrapper that
    passes on its features.

    Raises ModelError if `tracker.mode` is memory and the checkpoint has none.
    """
    settings = Settings.of(config)
    config = settings.now
    if config.tracker.mode != "reprompt":
        card = load_card(config.segmenter.model, "segmenter")
        backend, folder = choose_backend(card, config.segmenter)
        make = _exported_tracker(folder, backend, settings) if folder else _torch_tracker(card, settings)
        if make is not None and "edges" in refine_steps(card, config.segmenter):
            return lambda: RefinedTracker(make(), lambda: settings.now.tracker.overlap)
        if make is not None:
            return make
        if config.tracker.mode == "memory":
            raise ModelError(
                f"{card.name} was exported or trained without SAM2's memory; set tracker.mode to reprompt or auto, or "
                "name a video checkpoint in segmenter.model"
            )
    return lambda: RepromptTracker(segmenter, lambda: settings.now.tracker)


def _exported_tracker(folder: Path, backend: str, settings: Settings) -> MakeTracker | None:
    manifest = read_manifest(folder)
    memory = manifest.memory
    if memory is None:
        return None
    from reasonseg_ros.engine.loading import load_engines

    engines = load_engines(folder, TRACKER_GRAPHS, engine_options(backend, settings.now.segmenter))
    return lambda: MemoryTracker(
        engines, memory, manifest.size_px, lambda: settings.now.tracker, lambda features: unrefined(features).data
    )


def _torch_tracker(card: ModelCard, settings: Settings) -> MakeTracker | None:
    from transformers import PreTrainedConfig

    from reasonseg_ros.export.sources import load_memory
    from reasonseg_ros.torch_device import choose_device, choose_dtype

    config = settings.now
    where = {"revision": card.revision, "local_files_only": loads_locally(card, config.segmenter.offline)}
    if PreTrainedConfig.get_config_dict(card.source, **where)[0].get("model_type") != "sam2_video":
        return None
    model = load_memory(card, config.segmenter.offline)
    device = choose_device(config.segmenter.device)
    dtype = choose_dtype(config.segmenter.dtype, device)
    size_px = int(model.config.prompt_encoder_config.image_size)
    graphs = torch_graphs(model, size_px, card.multimask, device, dtype)
    memory = Memory(model.num_maskmem, model.config.max_object_pointers_in_encoder, model.mem_dim)
    maps = torch_maps(model, device, dtype)
    return lambda: MemoryTracker(graphs, memory, size_px, lambda: settings.now.tracker, maps)


def torch_graphs(model: Any, size_px: int, multimask: bool, device: Any, dtype: Any) -> dict[str, Any]:
    """The tracker's graphs of a Sam2VideoModel, run by torch."""
    from reasonseg_ros.engine.torch_modules import TorchModule
    from reasonseg_ros.export.decoder import Decoder
    from reasonseg_ros.export.memory import MemoryAttention, MemoryEncoder

    prompted = ("image_embed", "high_res_0", "high_res_1", "point_coords", "point_labels")
    found = ("masks", "iou", "object_score", "object_pointer")
    remembered = ("vision_feat", "mem_feat", "mem_slot", "obj_ptr", "ptr_dt")
    seen = ("vision_feat", "masks", "object_score", "prompted")
    return {
        "decoder": TorchModule("decoder", Decoder(model, size_px, multimask, dtype), prompted, found, device),
        "memory_attention": TorchModule(
            "memory attention", MemoryAttention(model, size_px, dtype), remembered, ("image_embed",), device
        ),
        "memory_encoder": TorchModule(
            "memory encoder", MemoryEncoder(model, size_px, dtype), seen, ("mem_feat",), device
        ),
    }


def torch_maps(model: Any, device: Any, dtype: Any) -> Callable[[Features], Mapping[str, Value]]:
    """The encoder graph's outputs by name, from the features of `Sam2Segmenter`; adds the no-memory embedding."""
    from reasonseg_ros.export.layout import FeatureLayout

    layout = FeatureLayout(model, dtype).to(device)
    no_memory = model.no_memory_embedding.detach().reshape(1, -1, 1, 1).to(device, dtype)

    def maps(features: Features) -> dict[str, Value]:
        high_res_0, high_res_1, image_embed = unrefined(features).data
        names = ("image_embed", "high_res_0", "high_res_1")
        values = dict(zip(names, layout(image_embed, high_res_0, high_res_1), strict=True))
        return values | {"vision_feat": image_embed - no_memory}

    return maps
