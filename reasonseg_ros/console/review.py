"""Manual review of the questions that `reasonseg data` has made."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from reasonseg_ros.console.pictures import jpeg_of
from reasonseg_ros.data_engine.pictures import with_outlines
from reasonseg_ros.data_engine.records import DataQuestion, add_decision, read_decisions, read_questions_file
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.files import read_image
from reasonseg_ros.plain_text import plain_text

OPEN, ACCEPTED, REJECTED = "open", "accepted", "rejected"
STATES = (OPEN, ACCEPTED, REJECTED)
_STATE_OF = {None: OPEN, True: ACCEPTED, False: REJECTED}
PAGE = 12
PICTURE_PX = 640
FILL = 0.35


class ReviewFolder:
    """The folder of a `reasonseg data` run. Any thread may call it. Raises InvalidInput for unreadable questions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._questions = {one.id: one for one in read_questions_file(folder)}
        self._decisions = read_decisions(folder) or {}
        self._lock = threading.Lock()

    def page(self, state: str, first: int) -> dict[str, Any]:
        """The page of PAGE questions of a state that holds the question at index `first`, and the counts of all states.

        An index past the end gives the last page. Raises InvalidInput for an unknown state.
        """
        if state not in STATES:
            raise InvalidInput(f"state {state!r:.40}; expected one of {', '.join(STATES)}")
        with self._lock:
            states = {an_id: _STATE_OF[self._decisions.get(an_id)] for an_id in self._questions}
        counts = Counter(states.values())
        listed = [self._questions[an_id] for an_id, known in states.items() if known == state]
        first = max(0, min(first, len(listed) - 1) // PAGE * PAGE)
        return {
            "folder": plain_text(str(self.folder)),
            "counts": {name: counts[name] for name in STATES},
            "first": first,
            "size": PAGE,
            "questions": [_values(one) for one in listed[first : first + PAGE]],
        }

    def decide(self, an_id: str, is_accepted: bool | None) -> None:
        """Save a decision on the disk; None undoes it. Raises InvalidInput for an unknown id."""
        with self._lock:
            if an_id not in self._questions:
                raise InvalidInput(f"question {an_id!r:.60} is not in {self.folder}; load the page again")
            add_decision(self.folder, an_id, is_accepted)
            self._decisions.pop(an_id, None)
            if is_accepted is not None:
                self._decisions[an_id] = is_accepted

    def jpeg(self, an_id: str) -> bytes:
        """The picture of a question with its targets; empty if there is no such question or picture."""
        question = self._questions.get(an_id)
        if question is None:
            return b""
        try:
            rgb = read_image(self.folder / question.picture)
            masks = [mask for mask in question.masks() if mask.shape == rgb.shape[:2]]
        except InvalidInput:
            return b""
        return jpeg_of(with_outlines(rgb, masks, FILL), PICTURE_PX)


class HasReview(Protocol):
    """The part of the desk that these requests use."""

    review: ReviewFolder | None


async def review_page(desk: HasReview, values: Mapping[str, Any]) -> dict[str, Any]:
    """The page of questions of a `state` that holds the index `first`."""
    first, state = values.get("first"), values.get("state")
    if type(first) is not int or not 0 <= first < 10**9 or not isinstance(state, str):
        raise InvalidInput("a page needs a `state`, and `first`, the index of its first question")
    return await asyncio.to_thread(_folder(desk).page, state, first)


async def review_decision(desk: HasReview, values: Mapping[str, Any]) -> dict[str, Any]:
    """Accept or reject the question `id`: `accepted` is true, false, or null to undo a decision."""
    an_id, is_accepted = values.get("id"), values.get("accepted", 0)
    if not isinstance(an_id, str) or not (is_accepted is None or isinstance(is_accepted, bool)):
        raise InvalidInput("a decision needs an `id`, and `accepted`: true, false or null")
    await asyncio.to_thread(_folder(desk).decide, an_id, is_accepted)
    return {}


def _folder(desk: HasReview) -> ReviewFolder:
    if desk.review is None:
        raise InvalidInput("there is nothing to review; start the console with --review DIR, the folder of a run")
    return desk.review


def _values(question: DataQuestion) -> dict[str, Any]:
    return {
        "id": question.id,
        "question": plain_text(question.question),
        "answer": plain_text(question.answer),
        "targets": [plain_text(target.name) for target in question.targets],
        "kind": plain_text(question.kind),
        "split": plain_text(question.split),
        "source": plain_text(question.source),
    }
