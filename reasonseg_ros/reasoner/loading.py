"""Loads the configured reasoner."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.engine.gpu import gpus
from reasonseg_ros.errors import ModelError
from reasonseg_ros.model_card import ModelCard, load_card
from reasonseg_ros.reasoner.onnx.manifest import FILE_NAME as GRAPHS
from reasonseg_ros.reasoner.port import Reasoner

# The published checkpoint with the prompt and image size of a dialect.
_TYPICAL = {
    "seg_zero": "seg-zero-7b",
    "vision_reasoner": "vision-reasoner-7b",
    "qwen2.5-vl": "qwen2.5-vl-7b",
    "qwen3-vl": "qwen3-vl-8b",
}


def load_reasoner(config: ReasonerConfig) -> Reasoner:
    """A reasoner with its model loaded, or with a server to ask.

    Raises ModelError if a checkpoint is missing, damaged or of another kind, or a package is not installed;
    ConfigError for settings that contradict each other. An unreachable server is not an error here.
    """
    card = with_dialect(load_card(config.model, "reasoner"), config.dialect)
    if config.backend == "server":
        try:
            from reasonseg_ros.reasoner.server.reasoner import ServerReasoner
        except ImportError as error:
            raise ModelError(f"{error}; install the server extra: pip install 'reasonseg_ros[server]'") from error
        return ServerReasoner(card, config)
    if config.backend == "onnxruntime" or (config.backend == "auto" and has_graphs(card, config)):
        try:
            from reasonseg_ros.reasoner.onnx.reasoner import OnnxReasoner
        except ImportError as error:
            raise ModelError(f"{error}; run `pip install onnxruntime tokenizers`") from error
        return OnnxReasoner(card, config)
    try:
        from reasonseg_ros.reasoner.local.reasoner import LocalReasoner
    except ImportError as error:
        raise ModelError(
            f"{error}; install torch, torchvision, transformers and accelerate (`make setup-models` in a checkout), or "
            "use a server"
        ) from error
    return LocalReasoner(card, config)


SMALL_BYTES = 500_000_000
"""Weights up to this size answer quickly on a CPU; larger ones belong on a GPU if there is one."""


def has_graphs(card: ModelCard, config: ReasonerConfig) -> bool:
    """Whether `auto` takes a checkpoint's graphs, which run on the CPU.

    It does if the checkpoint was exported, its graphs support the settings, and no GPU would run it much faster.
    """
    return (
        card.is_folder
        and Path(card.source, GRAPHS).is_file()
        and config.device in ("auto", "cpu")
        and config.dtype in ("auto", "float32")
        and (config.attention, config.quantization) == ("sdpa", "none")
        and (config.device == "cpu" or weights_bytes(Path(card.source)) <= SMALL_BYTES or not gpus())
    )


def weights_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def with_dialect(card: ModelCard, dialect: str) -> ModelCard:
    """The card with another dialect, and its prompt and image size; `auto` leaves the card unchanged."""
    if dialect in ("auto", card.dialect):
        return card
    typical = load_card(_TYPICAL[dialect], "reasoner")
    both_squash = card.coordinates == typical.coordinates == "squashed"
    return replace(
        card,
        dialect=dialect,
        image_size_wh=card.image_size_wh if both_squash else typical.image_size_wh,
        coordinates=typical.coordinates,
        prompt=typical.prompt,
        system=typical.system,
        max_new_tokens=typical.max_new_tokens,
    )
