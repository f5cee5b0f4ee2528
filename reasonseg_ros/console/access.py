"""Access control of the console: host names, origins, the token, and request bodies.

Any page that is open in the user's browser can send requests to loopback addresses. The headers `Host`, `Origin` and
`Sec-Fetch-Site` show where a request comes from. The browser sets them, and a page cannot change them.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "reasonseg_console"
TOKEN_BYTES = 24
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def is_own_host(host: str) -> bool:
    """Whether a `Host` header can only mean this machine: an IP address, localhost, or the machine's own name.

    Any other name may belong to a foreign page that resolves it to this machine (DNS rebinding).
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return False
    own = socket.gethostname().lower()
    if name in {"localhost", own, f"{own}.local"}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def refused_because(kind: str, path: str, headers: Mapping[str, str]) -> str:
    """The reason to refuse a request of that kind (`http` or `websocket`); empty if there is none.

    The token is checked later. `headers` has lower-case names.
    """
    host = headers.get("host", "")
    if not is_own_host(host):
        return "Host is not a name of this machine; open the address that the console printed"
    origin = headers.get("origin")
    if kind == "websocket" and origin is None:
        return "no Origin; connect from the console's own page"
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return "Origin is another page; open the address that the console printed"
    site = headers.get("sec-fetch-site", "none")
    is_link = path == "/" and headers.get("sec-fetch-mode", "navigate") == "navigate"
    if site not in ("same-origin", "none") and not is_link:
        return "the request comes from another page; open the address that the console printed"
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        return "the console takes no request body"
    return ""


class Gate:
    """Wraps the application, and refuses requests of other pages, with a wrong method or without the token.

    The printed address holds the token. Opening it sets a cookie that scripts cannot read and other pages cannot send.
    An empty `token` turns this check off.
    """

    def __init__(self, application: ASGIApp, token: str = "") -> None:
        self._application = application
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._application(scope, receive, send)
            return
        headers = Headers(scope=scope)
        reason = refused_because(scope["type"], scope["path"], headers)
        if scope["type"] == "websocket":
            if reason or not self._knows(headers):
                await send({"type": "websocket.close", "code": 1008, "reason": (reason or "no token")[:100]})
                return
            await self._application(scope, receive, send)
            return
        answer = self._http_refusal(scope, headers, reason)
        await (self._application if answer is None else answer)(scope, receive, _with_headers(send))

    def _http_refusal(self, scope: Scope, headers: Headers, reason: str) -> Response | None:
        if reason:
            return PlainTextResponse(f"refused: {reason}\n", 403)
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("refused: the console answers GET only\n", 405, {"Allow": "GET, HEAD"})
        if self._knows(headers):
            return None
        given = QueryParams(scope["query_string"]).get("token", "")
        if scope["path"] == "/" and self._is_token(given):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict", path="/")
            return answer
        return PlainTextResponse("refused: no token; open the address that the console printed\n", 401)

    def _knows(self, headers: Headers) -> bool:
        if not self._token:
            return True
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        return COOKIE in cookies and self._is_token(cookies[COOKIE].value)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
        await send(message)

    return send_with_headers
