"""What somebody from elsewhere can do with the console: be refused. Each row of docs/security.md names a test."""

import http.client
import http.server
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("websockets", reason="needs the extra `console`")
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from reasonseg_ros.console.web import MOST_VIEWERS
from test.loopback import serving

ROOT = Path(__file__).resolve().parents[3]
ATTACK = """<!doctype html><title>elsewhere</title><script>
const found = {};
const image = address => new Promise(resolve => {
  const one = new Image();
  one.onload = () => resolve("shown"); one.onerror = () => resolve("refused"); one.src = address;
});
const socket = address => new Promise(resolve => {
  const one = new WebSocket(address); one.onopen = () => resolve("open"); one.onerror = () => resolve("refused");
});
const read = (address, options) =>
  fetch(address, options).then(r => r.type === "opaque" ? "blind" : "read", () => "refused");
window.attack = async (host) => ({
  read: await read(`http://${host}/`),
  post: await read(`http://${host}/`, {method: "POST", mode: "no-cors", body: "x"}),
  picture: await image(`http://${host}/icon.svg`),
  socket: await socket(`ws://${host}/live`),
  frame: await new Promise(resolve => {
    const one = document.createElement("iframe"); one.src = `http://${host}/`; document.body.append(one);
    one.onload = () => { try { resolve(one.contentDocument ? "own" : "blocked"); } catch { resolve("blocked"); } };
  }),
});
</script><body>"""


@pytest.fixture(scope="module")
def console(programs, tmp_path_factory):
    """A console without a node."""
    return urlsplit(programs.console(tmp_path_factory.mktemp("truth") / "truth")[1])


@pytest.fixture
def elsewhere():
    """Another server of this machine, whose page attacks."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(ATTACK.encode())

        def log_message(self, *_):
            pass

    with serving(Page) as server:
        yield f"http://127.0.0.1:{server.server_port}/"


def status_of(address, path="/", method="GET", body=None, **headers):
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=90)
    try:
        connection.request(
            method, path, body=body, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def test_a_page_from_elsewhere_is_refused_in_a_browser(console, elsewhere, browse):
    page = browse(elsewhere)
    found = page.evaluate("host => window.attack(host)", console.netloc)
    assert {name: how for name, how in found.items() if how not in ("refused", "blocked")} == {}
    assert len(found) == 5 and status_of(console) == 200
    assert status_of(console, method="POST", body="x", Origin=elsewhere.rstrip("/")) == 403
    page.complaints.clear()  # the browser's own, of what it was refused


def test_another_host_origin_or_method_is_refused(console):
    assert status_of(console) == 200
    assert status_of(console, Host="evil.example") == 403
    assert status_of(console, Origin="http://evil.example") == 403
    assert status_of(console, "/icon.svg", Sec_Fetch_Site="cross-site") == 403
    assert status_of(console, method="DELETE") == 405


def test_a_body_is_refused_whatever_its_size(console):
    for size in (1, 100_000):
        assert status_of(console, body=b"x" * size) == 403


PATHS = (
    "/pages/index.html", "/../web.py", "/%2e%2e/web.py", "/answers/1/../../image.jpg", "/answers/x/image.jpg",
    "/answers/99/image.jpg", "/truths/..%2f..%2fetc%2fpasswd.jpg", "/truths/truth_0001.jpg", "/console.py",
    "//etc/passwd",
)  # fmt: skip


def test_no_path_reaches_the_file_system(console):
    assert {path: status_of(console, path) for path in PATHS} == dict.fromkeys(PATHS, 404)


def test_a_socket_from_elsewhere_is_refused(console):
    for origin in (None, "http://evil.example", "null"):
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://{console.netloc}/live", origin=origin):
            pass
        assert refused.value.response.status_code == 403


def test_a_message_that_is_too_large_ends_the_connection(console):
    with connect(f"ws://{console.netloc}/live", origin=f"http://{console.netloc}") as socket:
        assert '"hello"' in socket.recv(timeout=90)
        socket.send("x" * 300_000)
        with pytest.raises(ConnectionClosed):
            list(socket)


def test_more_pages_than_may_be_open_are_closed_with_the_reason(console):
    address, origin = f"ws://{console.netloc}/live", f"http://{console.netloc}"
    with ExitStack() as stack:
        pages = [stack.enter_context(connect(address, origin=origin)) for _ in range(MOST_VIEWERS)]
        for page in pages:
            assert '"hello"' in page.recv(timeout=90)
        with connect(address, origin=origin) as refused, pytest.raises(ConnectionClosed) as closed:
            refused.recv(timeout=90)
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "32 pages are open; close one of them")
        pages[0].close()
        for _ in range(100):  # its end has to reach the console
            with connect(address, origin=origin) as again, suppress(ConnectionClosed):
                assert '"hello"' in again.recv(timeout=90)
                break
            time.sleep(0.1)
        else:
            pytest.fail("no page can be opened after one was closed")


def test_an_address_that_others_reach_needs_the_token(programs, tmp_path, browse):
    printed = urlsplit(programs.console(tmp_path / "truth", "--host", "0.0.0.0")[1])
    console = urlsplit(f"http://127.0.0.1:{printed.port}/")
    assert printed.query.startswith("token=") and len(printed.query) > 30
    for path in ("/", "/console.js", "/answers/1/image.jpg", "/?token=wrong"):
        assert status_of(console, path) == 401
    with pytest.raises(InvalidStatus), connect(f"ws://{console.netloc}/live", origin=f"http://{console.netloc}"):
        pass
    page = browse(f"{console.geturl()}?{printed.query}")
    page.wait_for_function("() => document.querySelectorAll('#mode option').length === 4")
    assert page.url == console.geturl()  # the token is no longer in the address
    assert page.evaluate("() => document.cookie") == ""


def test_an_address_that_cannot_be_listened_on_is_one_line(programs, console, tmp_path):
    port = console.port
    for arguments, words in (
        (
            ("--port", port),
            f"reasonseg: cannot listen on 127.0.0.1 port {port}: Address already in use; choose another one",
        ),
        (("--host", "256.1.1.1"), "reasonseg: --host 256.1.1.1: "),
        (
            ("--port", "99999"),
            "reasonseg console: error: argument --port: '99999'; expected a whole number, from 0 to 65535",
        ),
    ):
        program = programs.start("-m", "reasonseg_ros.cli", "console", "--truth", tmp_path / "other", *arguments)
        assert program.line("^reasonseg.*: ").string.startswith(words)
        assert program.ended() == 2


def test_every_row_of_the_documentation_names_its_test():
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "`test_" in line]
    named = {name for row in rows for name in row.split("`") if name.startswith("test_")}
    known = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "test").rglob("test_*.py"))
    assert len(rows) >= 30 and all(row.count("`test_") for row in rows)
    tables = [line for line in text.splitlines() if line.startswith("| ") and " | test |" not in line]
    assert rows == tables  # none is without a test
    assert [name for name in sorted(named) if f"def {name}(" not in known] == []
