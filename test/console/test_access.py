"""Requests that are no business of a page from elsewhere never reach the console."""

import asyncio

import pytest

pytest.importorskip("starlette", reason="needs the extra `console`")

from reasonseg_ros.console.access import COOKIE, Gate, is_own_host, new_token, refused_because

HOST = "127.0.0.1:8090"
OWN = {"host": HOST, "origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost", "LOCALHOST:1", "[::1]:8090", "192.168.1.7:80"])
def test_addresses_of_this_machine_are_own_hosts(host):
    assert is_own_host(host)


@pytest.mark.parametrize(
    "host", ["", "evil.example:8090", "localhost.evil.example", "127.0.0.1.evil.example", "[::1", "a b"]
)
def test_names_that_may_be_rebound_are_not(host):
    assert not is_own_host(host)


@pytest.mark.parametrize(
    ("kind", "path", "headers", "reason"),
    [
        ("websocket", "/live", {"host": HOST}, "no Origin"),
        ("websocket", "/live", {**OWN, "origin": "http://evil.example"}, "Origin is another page"),
        ("websocket", "/live", {**OWN, "origin": "http://127.0.0.1:3000"}, "Origin is another page"),
        ("websocket", "/live", {**OWN, "origin": "null"}, "Origin is another page"),
        ("http", "/", {**OWN, "host": "evil.example"}, "Host is not a name of this machine"),
        ("http", "/answers/1/image.jpg", {"host": HOST, "sec-fetch-site": "cross-site"}, "from another page"),
        ("http", "/answers/1/image.jpg", {"host": HOST, "sec-fetch-site": "same-site"}, "from another page"),
        ("http", "/", {"host": HOST, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, "from another page"),
        ("http", "/", {**OWN, "content-length": "5"}, "no request body"),
        ("http", "/", {**OWN, "transfer-encoding": "chunked"}, "no request body"),
    ],
)
def test_what_comes_from_elsewhere_is_refused(kind, path, headers, reason):
    assert reason in refused_because(kind, path, headers)


@pytest.mark.parametrize(
    ("kind", "path", "headers"),
    [
        ("websocket", "/live", OWN),
        ("websocket", "/live", {"host": "localhost:9000", "origin": "http://localhost:9000"}),  # a forwarded port
        ("http", "/", {"host": HOST}),
        ("http", "/", {"host": HOST, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}),  # a link to it
        ("http", "/console.js", OWN),
    ],
)
def test_the_own_page_is_not_refused(kind, path, headers):
    assert refused_because(kind, path, headers) == ""


async def _inside(scope, receive, send):
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def asked(token="", kind="http", path="/", method="GET", query="", **headers):
    """What the gate sends: the status and the headers, or the type of a WebSocket's first message."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b""}

    given = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": kind, "path": path, "method": method, "query_string": query.encode(), "headers": raw}
    asyncio.run(Gate(_inside, token)(scope, receive, send))
    if kind == "websocket":
        return sent[0]["type"]
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def test_every_response_forbids_what_the_page_does_not_need():
    for status, headers in (asked(), asked(host="evil.example")):
        assert status in (200, 403)
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_get_is_answered(method):
    assert asked(method=method)[0] == 405


def test_a_token_is_exchanged_for_a_cookie_that_scripts_cannot_read():
    token = new_token()
    assert len(token) >= 32 and token != new_token()
    assert asked(token)[0] == 401
    assert asked(token, query="token=wrong")[0] == 401
    assert asked(token, path="/console.js", query=f"token={token}")[0] == 401
    status, headers = asked(token, query=f"token={token}")
    assert (status, headers["location"]) == (303, "/")
    assert "HttpOnly" in headers["set-cookie"] and "SameSite=strict" in headers["set-cookie"]
    assert asked(token, cookie=f"{COOKIE}={token}")[0] == 200
    assert asked(token, cookie=f"{COOKIE}=wrong")[0] == 401


def test_a_socket_needs_origin_and_cookie():
    token = new_token()
    own = {"origin": f"http://{HOST}"}
    assert asked(kind="websocket", path="/live", **own) == "websocket.accept"
    assert asked(kind="websocket", path="/live") == "websocket.close"
    assert asked(token, kind="websocket", path="/live", **own) == "websocket.close"
    assert asked(token, kind="websocket", path="/live", cookie=f"{COOKIE}={token}", **own) == "websocket.accept"
