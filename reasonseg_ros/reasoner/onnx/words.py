"""Texts as tokens and back, with the `tokenizers` library and the checkpoint's chat template."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer

from reasonseg_ros.errors import InvalidInput, ModelError
from reasonseg_ros.reasoner.onnx.manifest import REMEDY, TEMPLATE, TOKENIZER
from reasonseg_ros.reasoner.onnx.positions import Grid


class Words:
    """The tokenizer and chat template of a checkpoint's folder. Raises ModelError if one cannot be read."""

    def __init__(self, folder: Path, image_token: int) -> None:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
            self._template = environment.from_string((folder / TEMPLATE).read_text(encoding="utf-8"))
        except Exception as error:  # the only common class of tokenizers' errors
            raise ModelError(f"tokenizer or chat template in {folder} cannot be read: {error}; {REMEDY}") from error
        # The file may hold the truncation and padding of a training. A prompt needs neither.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._image_mark = self._tokenizer.id_to_token(image_token) or ""
        if not self._image_mark:
            raise ModelError(f"{folder / TOKENIZER} has no token {image_token}; {REMEDY}")

    def chat(self, messages: Sequence[dict[str, Any]]) -> str:
        """The chat as one text, up to the start of the model's turn. Raises InvalidInput if the template refuses it."""
        try:
            return self._template.render(messages=messages, add_generation_prompt=True)
        except TemplateError as error:
            raise InvalidInput(f"the chat template refuses the question: {error}") from error

    def tokens(self, text: str, grids: Sequence[Grid]) -> list[int]:
        """Ids of a chat. The mark of each image is repeated for each token of its grid.

        Raises InvalidInput if the text has another number of images.
        """
        parts = text.split(self._image_mark)
        if len(parts) != len(grids) + 1:
            raise InvalidInput(f"the chat has {len(parts) - 1} images; expected {len(grids)}")
        marks = [self._image_mark * rows * columns for rows, columns in grids]
        whole = "".join(part + mark for part, mark in zip(parts, [*marks, ""], strict=True))
        ids: list[int] = self._tokenizer.encode(whole, add_special_tokens=False).ids
        return ids

    def text(self, ids: Sequence[int]) -> str:
        """The text of tokens, special ones left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))
