"""Loads what can be exported: checkpoints of transformers (SAM2, SAM2 video, EdgeTAM) and of the `sam2` package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import EdgeTamConfig, EdgeTamModel, PreTrainedConfig, Sam2VideoConfig, Sam2VideoModel
from transformers.utils import cached_file

from reasonseg_ros.engine.export_folder import weights_sha256
from reasonseg_ros.engine.manifest import file_sha256
from reasonseg_ros.errors import InvalidInput, ModelError
from reasonseg_ros.export.official import load_official
from reasonseg_ros.hub_cache import INDEX, WEIGHTS, loads_locally
from reasonseg_ros.model_card import ModelCard, load_card
from reasonseg_ros.segmenter.sam2 import load_sam2, set_image_size
from reasonseg_ros.weights import check_weights

OFFICIAL_SUFFIX = ".pt"

_ARCHITECTURES = {"sam2": "sam2", "sam2_video": "sam2", "edgetam": "edgetam", "edgetam_video": "edgetam"}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A loaded model of transformers in float32, with the values for its manifest."""

    model: nn.Module
    card: ModelCard
    source: str
    architecture: str
    size_px: int
    weights_sha256: str

    @property
    def has_memory(self) -> bool:
        return hasattr(self.model, "memory_attention")


def load_source(source: str, size_px: int = 0) -> Checkpoint:
    """Load a card's name or YAML, a folder, a hub id, or an official `.pt` file; `size_px` 0 takes its own size.

    Raises ModelError if it is missing, damaged, or of an architecture that cannot be exported; InvalidInput for a
    size that is not a multiple of 32.
    """
    if size_px < 0 or size_px % 32:
        raise InvalidInput(f"size {size_px}; expected a multiple of 32, for example 512 or 1024")
    path = Path(source).expanduser()
    if path.suffix == OFFICIAL_SUFFIX:
        if not path.is_file():
            raise ModelError(f"{path} is not there; give an official SAM2 checkpoint")
        card = ModelCard(name=path.stem, kind="segmenter", source=str(path.resolve()))
        model, architecture, digest = load_official(path, size_px), "sam2", file_sha256(path)
    else:
        card = load_card(source, "segmenter")
        model, architecture = _load(card, size_px or card.image_size)
        digest = weights_sha256(_weights_folder(card))
    size_px = int(model.config.prompt_encoder_config.image_size)
    return Checkpoint(model, card, source, architecture, size_px, digest)


class _WithoutBackbone(Sam2VideoModel):
    """Does not load the weights of the image encoder's backbone, which are most of the model."""

    _keys_to_ignore_on_load_unexpected: ClassVar[list[str]] = [r"^vision_encoder\.backbone\."]

    def __init__(self, config: Sam2VideoConfig) -> None:
        super().__init__(config)
        self.vision_encoder.backbone = nn.Identity()


def load_memory(card: ModelCard, offline: bool = False) -> nn.Module:
    """The Sam2VideoModel of a card in float32, without the backbone, so it cannot encode images.

    Raises ModelError if it is missing or damaged.
    """
    is_local = loads_locally(card, offline)
    values, _ = PreTrainedConfig.get_config_dict(card.source, revision=card.revision, local_files_only=is_local)
    return _from_pretrained(_WithoutBackbone, Sam2VideoConfig.from_dict(values), card, card.image_size, offline)


def _weights_folder(card: ModelCard) -> Path:
    """The folder of the loaded weights, in the hub's cache or on disk."""
    found = cached_file(
        card.source, WEIGHTS, revision=card.revision, _raise_exceptions_for_missing_entries=False
    ) or cached_file(card.source, INDEX, revision=card.revision)
    return Path(found).parent


def _load(card: ModelCard, size_px: int) -> tuple[nn.Module, str]:
    try:
        is_local = loads_locally(card, offline=False)
        values, _ = PreTrainedConfig.get_config_dict(card.source, revision=card.revision, local_files_only=is_local)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"no checkpoint could be read from {card.source}: {error}; check the name and the network, "
                         "or give a folder") from error  # fmt: skip
    kind = str(values.get("model_type"))
    if kind not in _ARCHITECTURES:
        raise ModelError(f"{card.source} holds a model of type {kind!r}; can export {', '.join(_ARCHITECTURES)}")
    if kind == "sam2":
        model = load_sam2(
            card.source, device=torch.device("cpu"), dtype=torch.float32, offline=is_local, revision=card.revision,
            size_px=size_px,
        )  # fmt: skip
    elif kind == "sam2_video":
        model = _from_pretrained(Sam2VideoModel, Sam2VideoConfig.from_dict(values), card, size_px)
    else:
        model = _from_pretrained(EdgeTamModel, EdgeTamConfig.from_dict(values), card, size_px)
    return model, _ARCHITECTURES[kind]


def _from_pretrained(
    kind: type[nn.Module], config: PreTrainedConfig, card: ModelCard, size_px: int, offline: bool = False
) -> nn.Module:
    if size_px and issubclass(kind, Sam2VideoModel):
        set_image_size(config, size_px)
        config.image_size = size_px
        config.memory_attention_rope_feat_sizes = [size_px // 16] * 2
    elif size_px:
        config.prompt_encoder_config.image_size = size_px
        config.vision_config.backbone_feature_sizes = [[size_px // stride] * 2 for stride in (4, 8, 16)]
    try:
        model, report = kind.from_pretrained(
            card.source, config=config, revision=card.revision, dtype=torch.float32, use_safetensors=True,
            output_loading_info=True, local_files_only=loads_locally(card, offline),
        )  # fmt: skip
    except ImportError as error:
        raise ModelError(f"{card.source}: {error}; install it (EdgeTAM's image encoder is timm's)") from error
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"no checkpoint could be read from {card.source}: {error}; download it again") from error
    try:
        check_weights(model, report, card.source, card.revision)
    except ModelError as error:
        raise ModelError(f"{card.source}: {error}") from error
    return model.eval().requires_grad_(False)
