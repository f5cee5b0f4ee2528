"""From the user's question to the chat that a checkpoint is asked with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import ConfigError, InvalidInput
from reasonseg_ros.files.bounded import read_text
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.plain_text import check_plain, plain_text

MAX_CHARACTERS = 2000
LONGEST = 100_000
"""The limit of the reasoners themselves; the node and the command line set their own below it."""
_CHAT_MARKER = re.compile(r"<\|[^|<>]*\|>")


def normalise_question(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """The question as checkpoints were trained on it: lower case, single spaces, no quotes round it, no end mark.

    Raises InvalidInput if it is empty, longer than `max_characters`, or holds control characters or a chat marker
    such as `<|im_end|>`, which would be read as the end of the user's turn.
    """
    if len(text) > max_characters:
        raise InvalidInput(f"question of {len(text)} characters; at most {max_characters} are allowed, shorten it")
    check_plain(text, "question")
    if marker := _CHAT_MARKER.search(text):
        raise InvalidInput(f"question holds the chat marker {marker[0]!r}; send plain text")
    question = " ".join(plain_text(text, len(text)).lower().split()).lstrip('" ').rstrip('.?!" ')
    if not question:
        raise InvalidInput(f"question {text!r} is empty; ask for something in the image")
    return question


def read_prompt(path: str) -> str:
    """A checkpoint's own prompt from a UTF-8 text file. Raises ConfigError if it is missing or lacks {query}."""
    try:
        prompt = read_text(Path(path).expanduser()).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"reasoner.prompt_file = {path!r} cannot be read: {error}; give a UTF-8 text") from error
    if "{query}" not in prompt:
        raise ConfigError(f"reasoner.prompt_file = {path!r} holds no {{query}}; put it where the question belongs")
    return prompt


def chat(card: ModelCard, question: str, image: dict[str, Any], prompt: str = "") -> list[dict[str, Any]]:
    """Chat messages for a normalised question.

    `image` is the content entry of the image: `{"type": "image"}` for a local processor, an `image_url` for a server.
    `prompt` replaces the card's.
    """
    words = (prompt or card.prompt).replace("{query}", question)
    user = {"role": "user", "content": [image, {"type": "text", "text": words}]}
    return [{"role": "system", "content": card.system}, user] if card.system else [user]


def reply_messages(card: ModelCard, words: str, images: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chat messages for free words about images; `images` are content entries as in `chat`."""
    user = {"role": "user", "content": [*images, {"type": "text", "text": words}]}
    return [{"role": "system", "content": card.system}, user] if card.system else [user]
