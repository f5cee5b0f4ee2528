"""The browsers that are connected, each at its own pace: a slow one misses images, never an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

MOST_WAITING = 500
"""Maximum messages that wait for one browser. A slower one is disconnected; it reconnects and gets the history."""


class TooSlow(Exception):
    """A browser has more than MOST_WAITING messages waiting."""


class Viewer:
    """One browser. Only for the loop's thread.

    Texts are sent in order. An image is sent when the browser has drawn the previous one, and only the newest waits, so
    no backlog builds up. The newest tracked masks of each question are sent before the image.
    """

    def __init__(self) -> None:
        self._texts: dict[object, str] = {}
        self._image: bytes | None = None
        self._tracked: dict[str, str] = {}
        self._is_ready = True
        self._wake = asyncio.Event()

    def tell(self, text: str, replaces: str = "") -> None:
        """Send a text. It replaces a waiting text with the same name `replaces`, unless that is empty."""
        self._texts[replaces or object()] = text
        self._wake.set()

    def show(self, image: bytes) -> None:
        self._image = image
        self._wake.set()

    def show_tracked(self, query_id: str, text: str) -> None:
        self._tracked[query_id] = text

    def is_drawn(self) -> None:
        """Note that the browser has drawn the last image."""
        self._is_ready = True
        self._wake.set()

    async def send_all(
        self, send_text: Callable[[str], Awaitable[None]], send_bytes: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Send until cancelled or the connection ends. Raises TooSlow."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._texts:
                if len(self._texts) > MOST_WAITING:
                    raise TooSlow
                await send_text(self._texts.pop(next(iter(self._texts))))
            if self._is_ready and self._image is not None:
                image, tracked = self._image, list(self._tracked.values())
                self._image, self._is_ready = None, False
                self._tracked.clear()
                for text in tracked:
                    await send_text(text)
                await send_bytes(image)


class Viewers:
    """All connected browsers. Only for the loop's thread."""

    def __init__(self) -> None:
        self._viewers: set[Viewer] = set()

    def __len__(self) -> int:
        return len(self._viewers)

    def add(self, viewer: Viewer) -> None:
        self._viewers.add(viewer)

    def remove(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)

    def tell(self, text: str, replaces: str = "") -> None:
        for viewer in self._viewers:
            viewer.tell(text, replaces)

    def show(self, image: bytes) -> None:
        for viewer in self._viewers:
            viewer.show(image)

    def show_tracked(self, query_id: str, text: str) -> None:
        for viewer in self._viewers:
            viewer.show_tracked(query_id, text)
