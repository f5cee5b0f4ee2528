"""Ends a draw from data in which nothing can be used."""

from __future__ import annotations

from reasonseg_ros.errors import InvalidInput

TRIES_PER_ITEM, LEAST_TRIES = 20, 100


class Skipped:
    """Counts the items that a random draw skips in a row. One usable item among all is missed with chance exp(-20)."""

    def __init__(self, items: int, complaint: str) -> None:
        """`items` is the number of items to draw from. `complaint` says what none of them has, and the remedy."""
        self._left = self._most = TRIES_PER_ITEM * items + LEAST_TRIES
        self._complaint = complaint

    def skip(self) -> None:
        """Raises InvalidInput with the complaint if too many were skipped since the last one that was used."""
        self._left -= 1
        if not self._left:
            raise InvalidInput(self._complaint)

    def use(self) -> None:
        self._left = self._most
