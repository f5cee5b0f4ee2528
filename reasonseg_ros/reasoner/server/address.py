"""A server's address, its key and the proxy to it. All are checked before the first request."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from reasonseg_ros import __version__
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.model_card import ModelCard
from reasonseg_ros.reasoner.server.completion import shown

_PORTS = {"http": 80, "https": 443}
_LEAST_SECRET = 6
"""Characters of a key that is masked in answers; shorter ones, such as EMPTY, are placeholders and common in text."""
_LEAST_SHOWN_SECRET = 3
"""The same for a server's own messages, which are not parsed."""


@dataclass(frozen=True)
class Server:
    """An address with its key. `key` is sent with each request and masked in everything that the server sends."""

    url: str
    key: str = ""
    retries: int = 0

    def __repr__(self) -> str:
        return f"Server({self.url!r})"

    @property
    def models_url(self) -> str:
        """The address of the list of served models."""
        return self.url.removesuffix("/chat/completions") + "/models"

    @property
    def headers(self) -> dict[str, str]:
        """Of every request."""
        headers = {"Accept-Encoding": "identity", "Connection": "close", "User-Agent": f"reasonseg_ros/{__version__}"}
        return headers | ({"Authorization": f"Bearer {self.key}"} if self.key else {})

    def masked(self, text: str, is_growing: bool = False, is_answer: bool = True) -> str:
        """`text` with the key masked. The end of a growing text is held back while it may be the key's beginning."""
        if len(self.key) < (_LEAST_SECRET if is_answer else _LEAST_SHOWN_SECRET):
            return text
        text = re.sub(re.escape(self.key), "***", text, flags=re.IGNORECASE)
        if is_growing:
            lower, key = text.lower(), self.key.lower()
            begun = (size for size in range(len(key) - 1, 0, -1) if lower.endswith(key[:size]))
            return text[: len(text) - next(begun, 0)]
        return text

    def shown(self, text: str) -> str:
        """The server's own words on one short line. Masked first, because a shortened key would not be found."""
        return shown(self.masked(text, is_answer=False))


def served_as(card: ModelCard, server_model: str) -> str:
    """The name under which a server serves the card's model; `server_model` is the setting."""
    # A folder is a path of this machine, which means nothing to a server.
    return server_model or (card.name if card.is_folder else card.source)


def completions_url(server_url: str) -> str:
    """The address to which completion requests are sent.

    `server_url` is the base address (`http://host:8000/v1`) or the whole one (`.../v1/chat/completions`). Raises
    ConfigError if it is no http or https address, or holds a user name, a query or a fragment.
    """
    text = server_url.strip()
    expected = "expected the base address of a server, for example http://127.0.0.1:8000/v1"
    try:
        url = urlsplit(text)
        usable = url.scheme in _PORTS and bool(url.hostname) and url.port != 0
    except ValueError:
        usable = False
    if "@" in text:
        # Its text may hold a password, so it is not repeated.
        raise ConfigError(
            "reasoner.server_url holds a user name or a password; leave both out and put the server's key into the "
            "environment variable that reasoner.server_key_variable names"
        )
    if not usable or not text.isascii() or not text.isprintable() or " " in text or url.query or url.fragment:
        raise ConfigError(f"reasoner.server_url = {server_url[:200]!r}; {expected}")
    base = text.rstrip("/?#").removesuffix("/chat/completions")
    return f"{base}/chat/completions"


def read_key(variable: str) -> str:
    """The key in an environment variable, without white space around it; empty for no variable.

    Raises ConfigError if it is missing or cannot be sent in a header.
    """
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    name = f"reasoner.server_key_variable = {variable!r}"
    if not key:
        raise ConfigError(f"{name}: this environment variable is empty or not set; put the server's key into it")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(
            f"{name}: the key in this environment variable holds a character that no HTTP header can hold (white "
            "space inside it, or one beyond ASCII); copy the key again"
        )
    return key


def proxy_for(url: SplitResult) -> SplitResult | None:
    """The proxy that the environment names for this address (http_proxy, https_proxy, all_proxy, no_proxy).

    A server on this machine is asked directly. Raises ConfigError for a proxy that is not reached over http.
    """
    import urllib.request  # imported here: it takes 0.03 s, and only a server needs it

    host = url.hostname or ""
    if _is_loopback(host) or urllib.request.proxy_bypass(f"{host}:{port_of(url)}"):
        return None
    proxies = urllib.request.getproxies_environment()
    text = proxies.get(url.scheme) or proxies.get("all")
    if not text:
        return None
    try:
        proxy = urlsplit(text if "://" in text else f"http://{text}")
        usable = proxy.scheme == "http" and bool(proxy.hostname) and proxy.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"the proxy for {url.scheme} addresses in the environment is no http:// address; set {url.scheme}_proxy to "
            f"one, or add {host} to no_proxy"
        )
    return proxy


def port_of(url: SplitResult) -> int:
    """The port of an http or https address, the scheme's default if it names none."""
    return url.port or _PORTS.get(url.scheme, 80)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
