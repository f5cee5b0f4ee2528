"""Addresses, proxies and TLS of the server reasoner."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from breaking_server import KEY, Server, reasoner_for, talking_threads, wait_until

from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.call import Call
from reasonseg_ros.reasoner.server.reasoner import ServerReasoner
from reasonseg_ros.types import Frame, Status


def test_a_server_behind_ipv6_is_asked(frame: Frame) -> None:
    try:
        server = Server("::1", socket.AF_INET6)
    except OSError:
        pytest.skip("no IPv6 on this machine")
    try:
        answer = reasoner_for(server, server_url=f"http://[::1]:{server.port}/v1").answer(frame, "red")
        assert answer.status is Status.OK, answer.error
        assert f"\r\nHost: [::1]:{server.port}\r\n" in server.requests[0]
    finally:
        server.close()


def test_a_host_without_an_address_is_away(server: Server, frame: Frame) -> None:
    answer = reasoner_for(server, server_url="http://no-such-host.invalid/v1").answer(frame, "red")
    assert answer.status is Status.UNAVAILABLE and "cannot be reached" in answer.error


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8000/v1", "htp://host/v1", "http://", "http:///v1", "http://host:port/v1", "http://host:99999/v1",
     "http://host:0/v1", "http://ho st/v1", "http://[::1/v1", "http://höst/v1", "http://host/v1?x=1", "http://host/#a",
     "http://host/v1\nX: y"],
)  # fmt: skip
def test_an_address_that_is_none_is_a_wrong_setting(url: str) -> None:
    config = ReasonerConfig(backend="server", server_url=url)
    with pytest.raises(ConfigError, match=r"reasoner\.server_url") as caught:
        ServerReasoner(load_card("vision-reasoner-7b", "reasoner"), config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["/v1", "/v1/", "/v1/chat/completions", "/v1/chat/completions/"])
def test_the_address_may_be_the_base_or_the_whole(server: Server, frame: Frame, url: str) -> None:
    reasoner_for(server, server_url=f" http://127.0.0.1:{server.port}{url}\n").answer(frame, "red")
    assert server.requests[0].startswith("POST /v1/chat/completions HTTP/1.1")


def test_a_proxy_of_the_environment_is_used(server: Server, frame: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://robot:s%20cret@127.0.0.1:{server.port}")
    reasoner = reasoner_for(server, server_url="http://gpu.example:8000/v1")
    assert reasoner.answer(frame, "red").status is Status.OK
    assert server.requests[0].startswith("POST http://gpu.example:8000/v1/chat/completions HTTP/1.1")
    assert "\r\nHost: gpu.example:8000\r\n" in server.requests[0]
    assert "\r\nProxy-Authorization: Basic cm9ib3Q6cyBjcmV0" in server.requests[0]


def test_a_server_on_this_machine_is_asked_without_a_proxy(
    server: Server, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert reasoner_for(server).answer(frame, "red").status is Status.OK
    monkeypatch.setenv("http_proxy", "socks5://proxy:1080")
    with pytest.raises(ConfigError, match=r"http_proxy.*no_proxy"):
        reasoner_for(server, server_url="http://gpu.example/v1")
    monkeypatch.setenv("no_proxy", "gpu.example")
    reasoner_for(server, server_url="http://gpu.example/v1")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a key and its certificate for 127.0.0.1."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:gpu.example"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "req", "-x509", "-nodes", *curve, *names, *files], check=True, capture_output=True)
    pem = folder / "both.pem"
    pem.write_text((folder / "key").read_text() + (folder / "certificate").read_text())
    return pem


def over_tls(server: Server, certificate: Path) -> None:
    """Have the server speak TLS from its very first byte."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    serve = server._serve

    def shake_hands(wire: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the client refuses the certificate
            serve(context.wrap_socket(wire, server_side=True))

    server._serve = shake_hands  # type: ignore[method-assign]


def test_https_is_asked_where_its_certificate_is_trusted(
    server: Server, frame: Frame, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over_tls(server, certificate)
    url = f"https://127.0.0.1:{server.port}/v1"
    answer = reasoner_for(server, server_url=url, server_retries=3).answer(frame, "red")
    assert answer.status is Status.UNAVAILABLE
    assert "certificate is not trusted" in answer.error and "SSL_CERT_FILE" in answer.error
    assert server.requests == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert reasoner_for(server, server_url=url).answer(frame, "red").status is Status.OK
    server.behaviour = lambda wire, _: server.ended.wait(60)
    assert reasoner_for(server, server_url=url).answer(frame, "red", Call(time_limit_s=0.3)).status is Status.TIMEOUT
    assert wait_until(lambda: not talking_threads())


def test_a_silent_handshake_ends_at_the_time_limit(server: Server, frame: Frame) -> None:
    server._serve = lambda wire: server.ended.wait(60)  # type: ignore[method-assign,assignment,return-value]
    reasoner = reasoner_for(server, server_url=f"https://127.0.0.1:{server.port}/v1")
    answer = reasoner.answer(frame, "a", Call(time_limit_s=0.3))
    assert answer.status is Status.TIMEOUT
    assert wait_until(lambda: not talking_threads())


def test_plain_http_under_an_https_address_says_so(server: Server, frame: Frame) -> None:
    server._serve = lambda wire: wire.close()  # type: ignore[method-assign]
    answer = reasoner_for(server, server_url=f"https://127.0.0.1:{server.port}/v1").answer(frame, "a")
    assert answer.status is Status.UNAVAILABLE and "cannot be reached" in answer.error


def test_https_goes_through_a_proxy_unread(
    server: Server, frame: Frame, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    tunnels = []

    def tunnel(wire: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            request += wire.recv(4096)
        tunnels.append(request.split(b"\r\n")[0])
        wire.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        serve(context.wrap_socket(wire, server_side=True))

    serve, server._serve = server._serve, tunnel  # type: ignore[method-assign]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{server.port}")
    monkeypatch.setenv("ROBOT_KEY", KEY)
    reasoner = reasoner_for(server, server_url="https://gpu.example/v1", server_key_variable="ROBOT_KEY")
    answer = reasoner.answer(frame, "red")
    assert answer.status is Status.OK, answer.error
    assert tunnels == [b"CONNECT gpu.example:443 HTTP/1.1"] or tunnels == [b"CONNECT gpu.example:443 HTTP/1.0"]
    assert f"Bearer {KEY}" in server.requests[0]
