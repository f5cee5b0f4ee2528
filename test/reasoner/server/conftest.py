"""A server on the loopback that answers with a stream of completions unless it is set to something else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from completing_server import Handler, speak


@pytest.fixture
def server() -> Iterator[Any]:
    # The client hangs up on purpose in some tests; the handler's complaint about that is no news.
    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            pass

    instance: Any = Quiet(("127.0.0.1", 0), Handler)
    instance.asked, instance.models = [], b""
    instance.requests, instance.wakened, instance.behaviour = [], threading.Event(), speak
    thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield instance
    instance.wakened.set()
    instance.shutdown()
    thread.join()
    instance.server_close()
