"""Checks of settings before models are loaded, which may take minutes. Every error names its parameter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from urllib.parse import urlsplit

from reasonseg_ros.config import Config
from reasonseg_ros.errors import ConfigError, ModelError
from reasonseg_ros.injection.configured import check_faults
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.chat.prompts import read_prompt
from reasonseg_ros.reasoner.server.address import completions_url, proxy_for, read_key


def check_settings(config: Config) -> None:
    """Raises ConfigError or ModelError for a model, a file or an address that cannot be used."""
    check_faults(config.faults)
    for kind, model in (("reasoner", config.reasoner.model), ("segmenter", config.segmenter.model)):
        with naming_parameters(f"{kind}.model"):
            load_card(model, kind)
    if config.reasoner.prompt_file:
        read_prompt(config.reasoner.prompt_file)
    if config.reasoner.backend == "server":
        url = config.reasoner.server_url
        proxy_for(urlsplit(completions_url(url)))
        if url != url.strip():
            raise ConfigError(f"reasoner.server_url = {url[:200]!r}; leave out the white space round the address")
        read_key(config.reasoner.server_key_variable)
    elif config.reasoner.attention == "flash_attention_2" and find_spec("flash_attn") is None:
        raise ConfigError("reasoner.attention = 'flash_attention_2'; the package flash-attn is missing, use sdpa")


@contextmanager
def naming_parameters(parameters: str) -> Iterator[None]:
    """Prefixes errors with the name of the parameter, or of the group of parameters."""
    try:
        yield
    except (ConfigError, ModelError) as error:
        text = str(error)
        if text.startswith(f"{parameters}."):
            raise
        setting = re.match(r"[a-z_]+ = ", text)  # a field of the group, without the group
        raise type(error)(f"{parameters}{'.' if setting else ': '}{text}") from error
