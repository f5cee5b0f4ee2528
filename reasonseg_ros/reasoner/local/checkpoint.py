"""Loads the processor and the model of a vision-language checkpoint, from a folder or the hub."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.documents import UnreadableDocument, read_json_document
from reasonseg_ros.files.model_formats import other_format
from reasonseg_ros.hub_cache import PROCESSOR, loads_locally
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.chat.chat_template import check_chat_template, special_tokens, turn_end
from reasonseg_ros.torch_device import choose_dtype
from reasonseg_ros.weights import check_weights

_LOG = logging.getLogger(__name__)


def load_checkpoint(card: ModelCard, config: ReasonerConfig, device: torch.device) -> tuple[Any, Any]:
    """Processor and model on `device`, for greedy decoding. Raises ModelError."""
    is_folder = card.is_folder or Path(card.source).is_dir()
    if is_folder:
        _check_folder(Path(card.source))
    shared = {
        "revision": card.revision,
        "local_files_only": loads_locally(card, config.offline, PROCESSOR),
        "trust_remote_code": False,
    }
    options: dict[str, Any] = {"use_safetensors": True, "dtype": choose_dtype(config.dtype, device)}
    options["attn_implementation"] = config.attention
    if config.quantization != "none":
        options |= {"quantization_config": _quantization(config, device), "device_map": device}
    try:
        processor = AutoProcessor.from_pretrained(card.source, **shared)
        kind = type(processor.image_processor).__name__
        if not kind.startswith("Qwen"):  # of others, `size` is the length of a side
            raise ModelError(
                f"its image processor is a {kind}, not that of a Qwen model; correct the processor's files"
            )
        settings, _ = processor.image_processor.get_image_processor_dict(card.source, **shared)
        least, most = pixel_limits(settings, processor.image_processor.size)
        least, most = config.min_pixels or card.min_pixels or least, config.max_pixels or card.max_pixels or most
        _check_shown(card, least, most)
        processor.image_processor.size = {"shortest_edge": least, "longest_edge": most}
        check_chat_template(processor)
        model, report = AutoModelForImageTextToText.from_pretrained(
            card.source, output_loading_info=True, **shared, **options
        )
        check_weights(model, report, card.source, card.revision)
        if config.quantization == "none":
            model = model.to(device)
        processor.tokenizer.decode([0])
        generation = model.generation_config
        # Published checkpoints ship sampling settings, which greedy decoding would warn about at every answer.
        generation.do_sample, generation.temperature, generation.top_p, generation.top_k = False, None, None, None
        generation.eos_token_id = sorted(answer_ends(processor, generation.eos_token_id))
        return processor, model.eval()
    except ModelError as error:
        raise ModelError(f"reasoner {card.name} cannot be loaded from {card.source}: {error}") from error
    # Whatever the files hold is outside input, and the libraries that read them raise all kinds of errors.
    except Exception as error:
        remedy = "download the checkpoint again" if is_folder else f"check the name and the network ({card.url})"
        if config.offline and not is_folder:
            remedy = "reasoner.offline is set: download it first, or give the path of a folder"
        reason = " ".join(str(error).split())[:400]
        raise ModelError(f"reasoner {card.name} cannot be loaded from {card.source}: {reason}; {remedy}") from error


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError(f"model folder {folder} is missing; download or train the checkpoint, or name another model")
    if stated := other_format(folder):
        raise ModelError(f"model folder {folder} is no checkpoint that can be loaded: {stated}")
    wanted = {
        "config.json": ["config.json"],
        "weights (*.safetensors; other formats are never loaded)": ["*.safetensors"],
        **{names[0]: list(names) for names in PROCESSOR},
    }
    for what, patterns in wanted.items():
        if not any(any(folder.glob(pattern)) for pattern in patterns):
            raise ModelError(f"model folder {folder} holds no {what}; download the checkpoint again")
    try:
        read_json_document(folder / "config.json")
    except UnreadableDocument as error:
        raise ModelError(f"{folder / 'config.json'} cannot be read: {error}; download the checkpoint again") from error


def pixel_limits(settings: Mapping[str, Any], read: Any) -> tuple[int, int]:
    """Least and most pixels to which the processor resizes an image, from any notation of its settings.

    As in transformers, `min_pixels` and `max_pixels` come first, then the same keys inside `size`, then `shortest_edge`
    and `longest_edge` inside `size`, then the size that transformers `read`. Raises ModelError for impossible values.
    """
    size = settings.get("size") or {}
    if not isinstance(size, Mapping) or {"height", "width"} & size.keys():
        raise ModelError(f"the processor's size is {str(size)[:100]}; expected shortest_edge and longest_edge")
    limits = []
    for old, new in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        given = [value for value in (settings.get(old), size.get(old), size.get(new)) if value is not None]
        if len(set(map(str, given))) > 1:
            _LOG.warning("the processor's files give several values for %s, %s; the first is taken", old, given)
        limits.append(given[0] if given else read[new])
    least, most = limits
    if not all(type(limit) is int for limit in limits) or not 0 < least <= most:
        raise ModelError(f"the processor shows {least} to {most} pixels; expected whole numbers, the least first")
    return least, most


def _check_shown(card: ModelCard, least: int, most: int) -> None:
    """The processor must not resize an image again that was squashed to the card's size: coordinates would be wrong."""
    if card.image_size_wh and not least <= card.image_size_wh[0] * card.image_size_wh[1] <= most:
        width, height = card.image_size_wh
        raise ModelError(
            f"the card squashes images to {width}x{height} pixels, and the processor's files allow {least} to {most} "
            "pixels; correct one of them, or set min_pixels and max_pixels in the card"
        )


def answer_ends(processor: Any, configured: int | Sequence[int] | None) -> set[int]:
    """The tokens that end an answer: those `configured`, the tokenizer's, and the one that ends the template's turns.

    Without the last one, some checkpoints would continue after their answer. Raises ModelError if there is no end
    token, or if an ordinary token is configured, which would cut answers.
    """
    tokenizer = processor.tokenizer
    names = tokenizer.convert_ids_to_tokens
    ends = {configured} if isinstance(configured, int) else set(configured or ())
    for end in ends:
        if end not in special_tokens(tokenizer):
            name = repr(names(end)) if isinstance(end, int) and 0 <= end < len(tokenizer) else "not in the vocabulary"
            raise ModelError(
                f"eos_token_id {end} is {name}, no special token of the tokenizer, whose own is {tokenizer.eos_token}; "
                "correct it in generation_config.json"
            )
    added = {end for end in (turn_end(processor), tokenizer.eos_token_id) if end is not None} - ends
    if not ends | added:
        raise ModelError("no end token in generation_config.json, config.json or the tokenizer; download it again")
    if added and turn_end(processor) in added | {None}:
        _LOG.warning(
            "the generation settings end answers at %s; the tokenizer and chat template end them at %s, which is "
            "taken as well", names(sorted(ends)) or "no token", names(sorted(added)),
        )  # fmt: skip
    return ends | added


def _quantization(config: ReasonerConfig, device: torch.device) -> BitsAndBytesConfig:
    if device.type != "cuda" or importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            f"reasoner.quantization = {config.quantization!r} needs a GPU and the bitsandbytes package (device is "
            f"{device}); install it with pip install bitsandbytes, or set quantization to none"
        )
    if config.quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    compute = choose_dtype(config.dtype, device)
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=compute)
