"""A Hugging Face hub on the loopback: one model, its files with checksums, byte ranges, and faults on request."""

import hashlib
import json
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

MODEL = "lab/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BYTES = 24 * 2**20
"""More than two of the chunks (10 MiB) that the hub's client writes at once."""


def weights(parameters=BYTES, name="w"):
    """A safetensors file with one tensor."""
    header = json.dumps({name: {"dtype": "U8", "shape": [parameters], "data_offsets": [0, parameters]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(parameters)


class FakeHub:
    """`files` by name; `*.safetensors` are large files (LFS) with a SHA-256, the others have git's SHA-1.

    Attributes:
        cut_at: a large file breaks off there, `cuts` times.
        wrong: names whose content is not what the checksum says.
        is_gated: nothing is handed out.
        ranges: the Range headers of the requests for large files, empty texts without.
        asked: how many requests for the model came.
    """

    def __init__(self, files):
        self.files = files
        self.cut_at, self.cuts, self.wrong, self.is_gated = 0, 0, (), False
        self.ranges = []
        self.asked = 0
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_HEAD(self):
                hub.answer(self, body=False)

            def do_GET(self):
                hub.answer(self, body=True)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request, body):
        path = unquote(urlsplit(request.path).path)
        self.asked += MODEL in path
        if path.startswith(f"/api/models/{MODEL}/tree/"):
            self._send(request, json.dumps([self._entry(name) for name in self.files]).encode(), body)
        elif path == f"/api/models/{MODEL}" or path.startswith(f"/api/models/{MODEL}/revision/main"):
            siblings = [{"rfilename": name, "size": len(data)} for name, data in self.files.items()]
            info = {"id": MODEL, "sha": COMMIT, "gated": "auto" if self.is_gated else False, "siblings": siblings}
            self._send(request, json.dumps(info).encode(), body)
        elif path.startswith(f"/{MODEL}/resolve/") and not self.is_gated:
            self._file(request, path.split("/", 5)[5], body)
        else:
            code = "GatedRepo" if self.is_gated else "RepoNotFound"
            self._send(request, b"{}", body, 403 if self.is_gated else 404, {"X-Error-Code": code})

    def _entry(self, name):
        entry = {"type": "file", "path": name, "size": len(self.files[name]), "oid": _git_sha1(self.files[name])}
        if name.endswith(".safetensors"):
            lfs = {"oid": hashlib.sha256(self.files[name]).hexdigest(), "size": entry["size"], "pointerSize": 134}
            entry["lfs"] = lfs
        return entry

    def _file(self, request, name, body):
        if name not in self.files:
            self._send(request, b"", body, 404, {"X-Error-Code": "EntryNotFound"})
            return
        data, is_large = self.files[name], name.endswith(".safetensors")
        etag = hashlib.sha256(data).hexdigest() if is_large else _git_sha1(data)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if is_large:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data))}
        if name in self.wrong:
            data = bytes(byte ^ 1 for byte in data)
        begin, status = 0, 200
        if body and (span := request.headers.get("Range")):
            begin, status = int(span.removeprefix("bytes=").partition("-")[0]), 206
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        if body and is_large:
            self.ranges.append(request.headers.get("Range") or "")
        cut = 0
        if body and is_large and self.cuts and begin < self.cut_at:
            self.cuts -= 1
            cut = self.cut_at - begin
        self._send(request, data[begin:], body, status, headers, cut)

    def _send(self, request, data, body, status=200, headers=None, cut=0):
        request.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if body:
            request.wfile.write(data[: cut or None])
        if cut:
            request.wfile.flush()
            request.close_connection = True


def _git_sha1(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
