"""The chat template of a checkpoint: found, tried out with bounds, and checked to hold image and question."""

from __future__ import annotations

import logging
from typing import Any

from reasonseg_ros.errors import ModelError
from reasonseg_ros.reasoner.chat.template_trial import try_template

PLACES = "chat_template.jinja, chat_template.json, processor_config.json or tokenizer_config.json"
_QUESTION = "the thing by the window"
_ANSWER = "it is there"
_TURNS = [
    {"role": role, "content": [{"type": "text", "text": text}]}
    for role, text in (("user", _QUESTION), ("assistant", _ANSWER))
]
_LOG = logging.getLogger(__name__)


def check_chat_template(processor: Any) -> None:
    """Check that the prompt of `processor` holds the image, the question and the start of the assistant's turn.

    If only the tokenizer's files hold a template, it is set on `processor`, because transformers' processors do not
    look there. Raises ModelError.
    """
    processor.chat_template = _template(processor)
    user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": _QUESTION}]}
    system = {"role": "system", "content": "You are a helpful assistant."}
    try_template(processor.chat_template, [([user], True), ([user], False), ([system, user], True), (_TURNS, False)])
    prompt = _render(processor, [user], True)
    remedy = "take the template of the base model"
    image = getattr(processor, "image_token", None)
    if image and prompt.count(image) != 1:
        raise ModelError(
            f"the chat template writes the image's mark {image} {prompt.count(image)} times for one image; {remedy}, "
            "as one for text alone leaves images out"
        )
    if prompt.count(_QUESTION) != 1:
        raise ModelError(f"the chat template writes the question {prompt.count(_QUESTION)} times; {remedy}")
    if prompt == _render(processor, [user], False):
        raise ModelError(f"the chat template does not begin the assistant's turn (add_generation_prompt); {remedy}")


def turn_end(processor: Any) -> int | None:
    """The token that the template writes at the end of the assistant's turn; None if it writes no special token."""
    after = _render(processor, _TURNS, False).rpartition(_ANSWER)[2].lstrip()
    tokens = processor.tokenizer(after, add_special_tokens=False)["input_ids"] if after else []
    return tokens[0] if tokens and tokens[0] in special_tokens(processor.tokenizer) else None


def special_tokens(tokenizer: Any) -> set[int]:
    """Ids of special tokens, which ordinary text never gives."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return {*tokenizer.all_special_ids, *(number for number, token in added.items() if token.special)}


def _template(processor: Any) -> str:
    own, tokenizers = getattr(processor, "chat_template", None), processor.tokenizer.chat_template
    template = own or tokenizers
    if not template:
        raise ModelError(f"no chat template in {PLACES}; copy it from the base model, as questions cannot be asked "
                         "without it")  # fmt: skip
    if not own:
        _LOG.warning("the chat template is taken from the tokenizer's files, as there is none for the processor")
    if isinstance(template, dict):
        if "default" not in template:
            raise ModelError(f"chat templates named {', '.join(map(str, template))}; one must be named default")
        template = template["default"]
    return str(template)


def _render(processor: Any, messages: list[dict[str, Any]], begin: bool) -> str:
    try:
        return str(processor.apply_chat_template(messages, add_generation_prompt=begin, tokenize=False))
    except Exception as error:  # Jinja's, and those of what the template calls
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"the chat template fails: {type(error).__name__}: {reason}") from error
