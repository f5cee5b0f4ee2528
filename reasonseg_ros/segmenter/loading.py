"""Loads the configured segmenter."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.engine.export_folder import export_folder, export_mismatch
from reasonseg_ros.engine.port import Engine, Report
from reasonseg_ros.errors import ModelError
from reasonseg_ros.hub_cache import loads_locally
from reasonseg_ros.model_card import ModelCard, load_card
from reasonseg_ros.segmenter.port import Segmenter
from reasonseg_ros.segmenter.refinement import STEPS, RefinedSegmenter

if TYPE_CHECKING:
    from reasonseg_ros.engine.loading import EngineOptions

_log = logging.getLogger(__name__)


def load_segmenter(config: SegmenterConfig, report: Report | None = None) -> Segmenter:
    """`report` receives the progress of slow steps, such as building engines. Raises ModelError if the checkpoint is
    missing, damaged or of another kind, or a package is not installed. Raises ConfigError for a missing device or
    engine.
    """
    card = load_card(config.model, "segmenter")
    backend, folder = choose_backend(card, config)
    segmenter = _load_torch(card, config) if folder is None else _load_exported(card, folder, backend, config, report)
    steps = refine_steps(card, config)
    return RefinedSegmenter(segmenter, steps) if steps else segmenter


def refine_steps(card: ModelCard, config: SegmenterConfig) -> tuple[str, ...]:
    """Names of `refinement.STEPS`."""
    refine = card.refine if config.refine == "auto" else config.refine
    return tuple(STEPS) if refine == "both" else () if refine == "none" else (refine,)


def choose_backend(card: ModelCard, config: SegmenterConfig) -> tuple[str, Path | None]:
    """The runtime of this card, and its export's folder; None for torch.

    `auto` runs an export by ONNX Runtime, on a GPU only if ONNX Runtime supports it, and everything else by torch.

    Raises ModelError if an export is required and missing.
    """
    folder = export_folder(card)
    is_checkpoint = folder is None or folder != Path(card.source)
    if config.backend == "torch":
        if not is_checkpoint:
            raise ModelError(f"{card.source} holds exported graphs, which torch does not run; set segmenter.backend to "
                             "auto, or name the checkpoint they were made from")  # fmt: skip
        return "torch", None
    if folder is None:
        if config.backend == "auto":
            return "torch", None
        raise ModelError(
            f"{card.name} has no exported graphs for {config.backend}; make them with `reasonseg export segmenter "
            f"--model {config.model} --out FOLDER` and set segmenter.model to FOLDER"
        )
    if is_checkpoint and (wrong := export_mismatch(folder, card)):
        if config.backend != "auto":
            raise ModelError(f"the export {folder} {wrong}; export the checkpoint again")
        _log.warning("the export %s %s; the checkpoint is run by torch until it is exported again", folder, wrong)
        return "torch", None
    if config.backend != "auto":
        return config.backend, folder
    if is_checkpoint and (config.dtype != "auto" or not _onnxruntime_has(config.device)):
        return "torch", None
    return "onnxruntime", folder


def _onnxruntime_has(device: str) -> bool:
    """Whether ONNX Runtime is installed and runs on this device. Raises ConfigError for a GPU that is not there."""
    if device.partition(":")[0] not in ("auto", "cpu", "cuda"):
        return False  # torch may know this device
    try:
        from reasonseg_ros.engine.loading import EngineOptions, engine_device
        from reasonseg_ros.engine.onnxruntime import has_provider
    except ModuleNotFoundError:
        return False
    # Such an error may also be a signal's exception that a module in C replaced while it was imported.
    except ImportError as error:
        raise ModelError(f"ONNX Runtime is installed but cannot be imported: {error}; install it again") from error
    return has_provider("cpu" if engine_device(EngineOptions(device=device))[1] is None else "cuda")


def _load_exported(
    card: ModelCard, folder: Path, backend: str, config: SegmenterConfig, report: Report | None
) -> Segmenter:
    try:
        from reasonseg_ros.engine.loading import load_engines
    except ImportError as error:
        raise ModelError(f"{error}; install the engine extra: pip install 'reasonseg_ros[engine]'") from error
    from reasonseg_ros.engine.manifest import IMAGE_GRAPHS, POINTS, read_manifest
    from reasonseg_ros.segmenter.exported import ExportedSegmenter

    options = engine_options(backend, config)
    engines = load_engines(folder, IMAGE_GRAPHS, options, report)
    manifest = read_manifest(folder)

    @cache
    def points() -> Engine:
        # Only everything mode needs it.
        return load_engines(folder, (POINTS,), options, report)[POINTS]

    return ExportedSegmenter(
        engines["encoder"],
        engines["decoder"],
        manifest,
        needs_boxes=card.needs_boxes,
        points=points if POINTS in manifest.graphs else None,
    )


def engine_options(backend: str, config: SegmenterConfig) -> EngineOptions:
    """Options for running the graphs of an export."""
    from reasonseg_ros.engine.cache import EngineCache
    from reasonseg_ros.engine.loading import EngineOptions

    return EngineOptions(
        backend=backend,
        device=config.device,
        build=config.engine_build,
        threads=config.threads,
        workspace_mib=config.engine_workspace_mib,
        cache=EngineCache(limit_gib=config.engine_cache_gib),
    )


def _load_torch(card: ModelCard, config: SegmenterConfig) -> Segmenter:
    try:
        # Imported late, so that a missing checkpoint is reported at once and not after seconds of importing.
        from reasonseg_ros.segmenter.sam2 import Sam2Segmenter, load_sam2
        from reasonseg_ros.torch_device import choose_device, choose_dtype
    except ImportError as error:
        raise ModelError(
            f"{error}; install torch, torchvision, transformers and accelerate (`make setup-models` in a checkout), or "
            "onnxruntime and filelock if the checkpoint was exported"
        ) from error
    device = choose_device(config.device)
    model = load_sam2(
        card.source,
        device=device,
        dtype=choose_dtype(config.dtype, device),
        offline=loads_locally(card, config.offline),
        revision=card.revision,
        size_px=card.image_size,
    )
    return Sam2Segmenter(model, multimask=card.multimask, name=card.name, needs_boxes=card.needs_boxes)
