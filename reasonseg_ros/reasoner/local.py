"""A vision-language checkpoint in this process, through transformers.

torch uses as many threads as it was told to (`OMP_NUM_THREADS`, `torch.set_num_threads`); nothing here changes that.
On a robot that does other work, one or two threads answer hardly later than all of them.
"""

from __future__ import annotations

import gc
import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig

from reasonseg_ros.config import ReasonerConfig
from reasonseg_ros.errors import ConfigError, InvalidInput, ModelError
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.dialects import parse_answer
from reasonseg_ros.reasoner.image_size import answer_wh, resize_rgb
from reasonseg_ros.reasoner.limits import Limits, failure
from reasonseg_ros.reasoner.port import OnText
from reasonseg_ros.reasoner.prompts import LONGEST, chat, normalise_question, read_prompt
from reasonseg_ros.torch_device import choose_device, choose_dtype
from reasonseg_ros.types import Answer, Frame, Status

_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


class LocalReasoner:
    """One loaded checkpoint. Greedy, so the same frame and question get the same answer. Not thread-safe.

    Raises ModelError where the checkpoint is missing, damaged, or of another kind; and ConfigError for settings that
    contradict the card, or a device that is not there.
    """

    def __init__(self, card: ModelCard, config: ReasonerConfig) -> None:
        self.name = card.name
        self.card = card
        self.config = config
        self.prompt = read_prompt(config.prompt_file) if config.prompt_file else ""
        self.device = choose_device(config.device)
        _check_pixels(card, config)
        self.processor, self.model = _load(card, config, self.device)
        generation = self.model.generation_config
        # Published checkpoints ship sampling settings, which greedy decoding would warn about at every answer.
        generation.do_sample, generation.temperature, generation.top_p, generation.top_k = False, None, None, None
        end = generation.eos_token_id
        self._ends = set(end if isinstance(end, list) else [end])

    def answer(
        self,
        frame: Frame,
        text: str,
        *,
        on_text: OnText | None = None,
        cancelled: Callable[[], bool] | None = None,
        max_new_tokens: int = 0,
        time_limit_s: float = 0.0,
    ) -> Answer:
        limits = Limits(
            max_new_tokens or self.config.max_new_tokens or self.card.max_new_tokens,
            time_limit_s or self.config.time_limit_s,
            cancelled,
        )
        try:
            question = normalise_question(text, LONGEST)
        except InvalidInput as error:
            return failure(Status.REFUSED, str(error), self.name)
        if status := limits.broken():
            return limits.stopped(status, "", 0, self.name)
        try:
            return self._generate(frame, question, limits, on_text)
        # The libraries below raise all kinds of errors; the port promises an Answer.
        except Exception as error:
            status = Status.OUT_OF_MEMORY if _is_no_memory(error) else Status.FAILED
            answer = failure(status, f"{type(error).__name__}: {error}"[:500], self.name)
        # The error and the tensors in its frames are gone here, so that their memory can be given back.
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return answer

    def _generate(self, frame: Frame, question: str, limits: Limits, on_text: OnText | None) -> Answer:
        inputs, seen_wh = self._inputs(frame, question)
        prompt_length = inputs["input_ids"].shape[1]
        watch = _Watch(self._decode, prompt_length, limits, on_text)
        with torch.inference_mode():
            output = self.model.generate(**inputs, max_new_tokens=limits.max_new_tokens, stopping_criteria=[watch])
        tokens = output[0, prompt_length:].tolist()
        said = self._decode(tokens)
        if watch.status:
            return limits.stopped(watch.status, said, len(tokens), self.name)
        answer = parse_answer(
            said,
            frame.size_wh,
            dialect=self.card.dialect,
            answer_wh=answer_wh(self.card, seen_wh),
            cut=len(tokens) >= limits.max_new_tokens and tokens[-1] not in self._ends,
        )
        return replace(answer, model=self.name, tokens=len(tokens))

    def _inputs(self, frame: Frame, question: str) -> tuple[Any, tuple[int, int]]:
        """The model's inputs, and the size in which it sees the image."""
        rgb = resize_rgb(frame.rgb, self.card.image_size_wh) if self.card.image_size_wh else frame.rgb
        messages = chat(self.card, question, {"type": "image"}, self.prompt)
        words = self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        inputs = self.processor(text=[words], images=[Image.fromarray(rgb)], return_tensors="pt")
        _, rows, columns = inputs["image_grid_thw"][0].tolist()
        patch_px = self.processor.image_processor.patch_size
        return inputs.to(self.device, dtype=self.model.dtype), (columns * patch_px, rows * patch_px)

    def _decode(self, tokens: list[int]) -> str:
        return str(self.processor.tokenizer.decode(tokens, skip_special_tokens=True))


class _Watch:
    """A stopping criterion: looks on between tokens, passes the text on, stops when a limit is broken."""

    def __init__(
        self, decode: Callable[[list[int]], str], prompt_length: int, limits: Limits, on_text: OnText | None
    ) -> None:
        self.decode = decode
        self.prompt_length = prompt_length
        self.limits = limits
        self.on_text = on_text
        self.status: Status | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: Any) -> torch.Tensor:
        if self.on_text:
            tokens = input_ids[0, self.prompt_length :].tolist()
            # A character of several tokens shows as a replacement character until its last one.
            self.on_text(self.decode(tokens).rstrip("\ufffd"), len(tokens))
        self.status = self.limits.broken()
        return torch.full((input_ids.shape[0],), self.status is not None, device=input_ids.device)


def _check_pixels(card: ModelCard, config: ReasonerConfig) -> None:
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


def _load(card: ModelCard, config: ReasonerConfig, device: torch.device) -> tuple[Any, Any]:
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


def _is_no_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(words in str(error) for words in _NO_MEMORY)
