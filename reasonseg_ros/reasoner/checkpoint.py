"""A vision-language checkpoint's files, or its place on the hub, as a processor and a model."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig

from reasonseg_ros.config import ReasonerConfig
from reasonseg_ros.errors import ConfigError, ModelError
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.torch_device import choose_dtype


def check_pixels(card: ModelCard, config: ReasonerConfig) -> None:
    """Raises ConfigError where the pixel limits contradict each other or the card."""
    least, most = config.min_pixels, config.max_pixels
    if least and most and least > most:
        raise ConfigError(f"reasoner.min_pixels = {least} is above max_pixels = {most}; swap them")
    if card.image_size_wh:
        width, height = card.image_size_wh
        if least > width * height or 0 < most < width * height:
            raise ConfigError(
                f"{card.name} sees every image at {width}x{height} pixels, which reasoner.min_pixels = {least} and "
                f"max_pixels = {most} do not allow; set both to 0"
            )


def load_checkpoint(card: ModelCard, config: ReasonerConfig, device: torch.device) -> tuple[Any, Any]:
    """Processor and model on `device`, for greedy decoding. Raises ModelError."""
    if card.is_folder:
        _check_folder(Path(card.source))
    shared = {
        "revision": card.revision,
        "local_files_only": config.offline or card.is_folder,
        "trust_remote_code": False,
    }
    options: dict[str, Any] = {"use_safetensors": True, "dtype": choose_dtype(config.dtype, device)}
    options["attn_implementation"] = config.attention
    if config.quantization != "none":
        options |= {"quantization_config": _quantization(config, device), "device_map": device}
    try:
        processor = AutoProcessor.from_pretrained(card.source, **shared)
        size = processor.image_processor.size
        processor.image_processor.size = {
            "shortest_edge": config.min_pixels or card.min_pixels or size["shortest_edge"],
            "longest_edge": config.max_pixels or card.max_pixels or size["longest_edge"],
        }
        model, report = AutoModelForImageTextToText.from_pretrained(
            card.source, output_loading_info=True, **shared, **options
        )
        # Weights that are not in the file would be random numbers.
        if report["missing_keys"] or report["mismatched_keys"]:
            missing = sorted(report["missing_keys"]) or sorted(map(str, report["mismatched_keys"]))
            raise ModelError(f"{len(missing)} weights are missing or of a wrong shape, {missing[0]} for one")
        if config.quantization == "none":
            model = model.to(device)
        processor.tokenizer.decode([0])
        generation = model.generation_config
        # Published checkpoints ship sampling settings, which greedy decoding would warn about at every answer.
        generation.do_sample, generation.temperature, generation.top_p, generation.top_k = False, None, None, None
        return processor, model.eval()
    # Whatever the files hold is outside input, and the libraries that read them raise all kinds of errors.
    except Exception as error:
        remedy = "download the checkpoint again" if card.is_folder else f"check the name and the network ({card.url})"
        if config.offline and not card.is_folder:
            remedy = "reasoner.offline is set: download it first, or give the path of a folder"
        reason = " ".join(str(error).split())[:400]
        raise ModelError(f"reasoner {card.name} cannot be loaded from {card.source}: {reason}; {remedy}") from error


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ModelError(f"model folder {folder} is missing; download or train the checkpoint, or name another model")
    wanted = {
        "config.json": ["config.json"],
        "weights (*.safetensors; other formats are never loaded)": ["*.safetensors"],
        "tokenizer.json": ["tokenizer.json", "vocab.json"],
        "processor_config.json": ["processor_config.json", "preprocessor_config.json"],
    }
    for what, patterns in wanted.items():
        if not any(any(folder.glob(pattern)) for pattern in patterns):
            raise ModelError(f"model folder {folder} holds no {what}; download the checkpoint again")


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
