"""Settings that can be checked before a model is loaded, which may take minutes. Every error names its parameter."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from urllib.parse import urlsplit

from reasonseg_ros.config import Config
from reasonseg_ros.errors import ConfigError, ModelError
from reasonseg_ros.injection.asked_for import check_faults
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.chat.prompts import read_prompt


def check_settings(config: Config) -> None:
    """Raises ConfigError or ModelError for a model, a file or an address that cannot be used."""
    check_faults(config.faults)
    for kind, model in (("reasoner", config.reasoner.model), ("segmenter", config.segmenter.model)):
        with naming_parameters(f"{kind}.model"):
            load_card(model, kind)
    if config.reasoner.prompt_file:
        read_prompt(config.reasoner.prompt_file)
    if config.reasoner.backend == "server":
        _check_url(config.reasoner.server_url)
        variable = config.reasoner.server_key_variable
        if variable and not os.environ.get(variable, "").strip():
            raise ConfigError(
                f"reasoner.server_key_variable: environment variable {variable!r} is empty; put the server's key there"
            )
    elif config.reasoner.attention == "flash_attention_2" and find_spec("flash_attn") is None:
        raise ConfigError("reasoner.attention = 'flash_attention_2'; the package flash-attn is missing, use sdpa")


@contextmanager
def naming_parameters(parameters: str) -> Iterator[None]:
    """Has errors begin with the name of the parameter, or of the group of parameters."""
    try:
        yield
    except (ConfigError, ModelError) as error:
        text = str(error)
        if text.startswith(f"{parameters}."):
            raise
        setting = re.match(r"[a-z_]+ = ", text)  # a field of the group, without the group
        raise type(error)(f"{parameters}{'.' if setting else ': '}{text}") from error


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number up to 65535, or brackets that do not close
        usable = False
    if not usable or parts.query or parts.fragment or any(one.isspace() for one in url):
        raise ConfigError(
            f"reasoner.server_url = {url!r}; expected http:// or https:// with host, port and path, "
            "for example http://127.0.0.1:8000/v1"
        )
