"""The web application: static pages, pictures by number or name, and one WebSocket for everything else."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from reasonseg_ros.config import METHODS
from reasonseg_ros.console import wire
from reasonseg_ros.console.desk import Desk
from reasonseg_ros.console.requests import answer_request
from reasonseg_ros.console.statuses import status_table
from reasonseg_ros.console.viewers import TooSlow, Viewer
from reasonseg_ros.types import Mode

PAGES = Path(__file__).parent / "pages"
HTML, CSS, SCRIPT = "text/html", "text/css", "text/javascript"
FILES = {
    "/": ("index.html", HTML),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/console.css": ("console.css", CSS),
    "/console.js": ("console.js", SCRIPT),
    "/link.js": ("link.js", SCRIPT),
    "/elements.js": ("elements.js", SCRIPT),
    "/masks.js": ("masks.js", SCRIPT),
    "/stage.js": ("stage.js", SCRIPT),
    "/answer.js": ("answer.js", SCRIPT),
    "/correction.js": ("correction.js", SCRIPT),
    "/lists.js": ("lists.js", SCRIPT),
    "/review": ("review.html", HTML),
    "/review.js": ("review.js", SCRIPT),
}
"""All files that are served, by path. No other name reaches the file system."""
MOST_VIEWERS = 32
"""Maximum open pages. It bounds memory, as each has its own send queue."""
MOST_REQUESTS = 8
"""Maximum concurrent requests of one browser; more wait."""
EXAMPLES = (
    "I would like to have some cocoa here",
    "something to drive a nail in with",
    "the tallest object",
    "what is left of the bowl",
)


def application(desk: Desk) -> Starlette:
    """The console's application. It has no access control; wrap it in a `Gate`."""
    held = {path: ((PAGES / name).read_bytes(), kind) for path, (name, kind) in FILES.items()}

    async def page(request: Request) -> Response:
        data, kind = held[request.url.path]
        return Response(data, media_type=kind)

    async def answer_picture(request: Request) -> Response:
        entry = desk.history.entries.get(request.path_params["number"])
        is_small = request.path_params["size"] == "thumbnail"
        return _jpeg(b"" if entry is None else entry.thumbnail if is_small else entry.jpeg)

    async def truth_picture(request: Request) -> Response:
        saved = desk.truths.saved.get(request.path_params["name"])
        return _jpeg(b"" if saved is None else saved.jpeg)

    async def review_picture(request: Request) -> Response:
        if desk.review is None:
            return _jpeg(b"")
        return _jpeg(await asyncio.to_thread(desk.review.jpeg, request.path_params["name"]))

    async def live(socket: WebSocket) -> None:
        await _live(desk, socket)

    return Starlette(
        routes=[
            *(Route(path, page) for path in held),
            Route("/answers/{number:int}/{size}.jpg", answer_picture),
            Route("/truths/{name}.jpg", truth_picture),
            Route("/review/{name}.jpg", review_picture),
            WebSocketRoute("/live", live),
        ]
    )


def _jpeg(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg") if data else PlainTextResponse("no such picture\n", 404)


async def _live(desk: Desk, socket: WebSocket) -> None:
    await socket.accept()
    if len(desk.viewers) >= MOST_VIEWERS:
        await socket.close(1013, f"{MOST_VIEWERS} pages are open; close one of them")
        return
    viewer = Viewer()
    viewer.tell(wire.text_of("hello", **_hello(desk)))
    desk.viewers.add(viewer)
    sending = asyncio.create_task(viewer.send_all(socket.send_text, socket.send_bytes))
    receiving = asyncio.create_task(_receive(desk, socket, viewer))
    try:
        done, _ = await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        if any(isinstance(task.exception(), TooSlow) for task in done):
            with suppress(WebSocketDisconnect, RuntimeError):
                await socket.close(1013, "too slow; connect again")
    finally:
        desk.viewers.remove(viewer)
        for task in (sending, receiving):
            task.cancel()
        for task in (sending, receiving):
            with suppress(asyncio.CancelledError, Exception):
                await task
        if socket.application_state is not WebSocketState.DISCONNECTED:
            with suppress(WebSocketDisconnect, RuntimeError):
                await socket.close()


async def _receive(desk: Desk, socket: WebSocket, viewer: Viewer) -> None:
    room = asyncio.Semaphore(MOST_REQUESTS)

    async def answer(text: str) -> None:
        try:
            viewer.tell(await answer_request(desk, text))
        finally:
            room.release()

    while True:
        text = await socket.receive_text()
        if text == "drawn":
            viewer.is_drawn()
            continue
        await room.acquire()
        desk.later(answer(text))


def _hello(desk: Desk) -> dict[str, Any]:
    return {
        "node": desk.node_values(),
        "statuses": status_table(),
        "modes": list(Mode),
        "methods": list(METHODS),
        "examples": EXAMPLES,
        "history": [wire.entry_values(entry) for entry in desk.history.entries.values()],
        "truths": wire.truth_values(desk.truths),
        "has_review": desk.review is not None,
    }
