"""One HTTP request that is bounded in time and redirects, and that any thread can end."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
import time
from contextlib import suppress
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from reasonseg_ros.errors import ServerError
from reasonseg_ros.reasoner.server.address import port_of, proxy_for

CONNECT_LIMIT_S = 10.0
READ_BYTES = 65536
_MOST_REDIRECTS = 3
_REDIRECTS = (301, 302, 307, 308)


class Post:
    """A request and its response; a GET if it has no body.

    One thread opens and reads it; `hang_up` may be called from every thread.
    """

    def __init__(self, url: str, body: bytes | None, headers: dict[str, str], deadline_s: float) -> None:
        self._url, self._body, self._headers = url, body, headers
        self._deadline_s = deadline_s
        self._ended = threading.Event()
        self._connection: _Connection | None = None
        self._response: http.client.HTTPResponse | None = None

    def open(self) -> http.client.HTTPResponse:
        """The response, redirects within the same server followed.

        Raises OSError, http.client.HTTPException, or ServerError for a redirect that is not followed.
        """
        url = self._url
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._send(urlsplit(url))
            if response.status not in _REDIRECTS:
                return response
            location = response.getheader("Location") or ""
            self.close()
            target = _on_the_same_server(url, location)
            if not target:
                raise ServerError(f"it redirects to another server ({location[:200]!r}); check server_url")
            url = target
        raise ServerError(f"it redirects more than {_MOST_REDIRECTS} times; check server_url")

    def wait_at_most(self, seconds: float) -> None:
        """Make each further read raise TimeoutError after this time without a byte."""
        if self._connection and self._connection.wire:
            self._connection.wire.settimeout(seconds)

    def hang_up(self) -> None:
        """End the connection at once. A thread that waits for it gets an error."""
        self._ended.set()
        if self._connection:
            self._connection.cut()

    def close(self) -> None:
        if self._response:
            self._response.close()
        if self._connection:
            self._connection.cut()
            self._connection.close()

    def _send(self, url: SplitResult) -> http.client.HTTPResponse:
        connection = self._connection = _Connection(url, self._deadline_s, self._ended)
        method = "GET" if self._body is None else "POST"
        connection.request(method, connection.target, self._body, self._headers | connection.proxy_headers)
        self._response = connection.getresponse()
        return self._response


class _Connection(http.client.HTTPConnection):
    """A connection to a server or its proxy. `wire` is the socket, from when it is connected to the end."""

    def __init__(self, url: SplitResult, deadline_s: float, ended: threading.Event) -> None:
        self.wire: socket.socket | None = None
        self.proxy_headers: dict[str, str] = {}
        self.target = f"{url.path or '/'}{f'?{url.query}' if url.query else ''}"
        self._deadline_s, self._ended = deadline_s, ended
        self._tls_name = url.hostname if url.scheme == "https" else None
        host, port, proxy = url.hostname or "", port_of(url), proxy_for(url)
        first = (proxy.hostname or "", proxy.port or 80) if proxy else (host, port)
        super().__init__(*first, timeout=min(CONNECT_LIMIT_S, self._remaining_s))
        if proxy and self._tls_name:
            self.set_tunnel(host, port, _proxy_key(proxy))
        elif proxy:
            self.target = f"http://{url.netloc}{self.target}"
            self.proxy_headers = _proxy_key(proxy) | {"Host": url.netloc}

    @property
    def _remaining_s(self) -> float:
        return max(self._deadline_s - time.monotonic(), 0.001)

    def connect(self) -> None:
        super().connect()
        self._hold(self.sock)
        if self._tls_name:
            context = ssl.create_default_context()
            # The handshake comes after the socket is held, so that it can be cut short as well.
            wrapped = context.wrap_socket(self.sock, server_hostname=self._tls_name, do_handshake_on_connect=False)
            self.sock = wrapped
            self._hold(wrapped)
            wrapped.do_handshake()
        self.sock.settimeout(self._remaining_s)

    def cut(self) -> None:
        # While a proxy opens its tunnel the socket is not held yet.
        wire = self.wire or self.sock
        if wire is not None:
            with suppress(OSError):  # it is at its end already
                # The plain socket's method: that of TLS would first drop state with which another thread still reads.
                socket.socket.shutdown(wire, socket.SHUT_RDWR)

    def _hold(self, wire: socket.socket) -> None:
        self.wire = wire
        if self._ended.is_set():
            raise ConnectionAbortedError("hung up")


def _on_the_same_server(url: str, location: str) -> str:
    """The address that a redirect leads to; empty if that is another host or port.

    http and https at their default ports count as the same server if the redirect leads to https.
    """
    try:
        target = urljoin(url, location)
        one, other = urlsplit(url), urlsplit(target)
        ports = (one.scheme, port_of(one)), (other.scheme, port_of(other))
    except ValueError:
        return ""
    is_same = ports[0] == ports[1] or ports == (("http", 80), ("https", 443))
    return target if is_same and one.hostname == other.hostname and other.username is None else ""


def _proxy_key(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": "Basic " + base64.b64encode(pair).decode("ascii")}
