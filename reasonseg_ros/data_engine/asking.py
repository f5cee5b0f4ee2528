"""The questions of one picture: asked, checked, and asked again where they break a rule."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from reasonseg_ros.data_engine.model import Model
from reasonseg_ros.data_engine.pictures import ListedObject, LoadedPicture
from reasonseg_ros.data_engine.prompts import VERSION, Refused, caption_words, question_words
from reasonseg_ros.data_engine.reading import Caption, read_caption, read_drafts
from reasonseg_ros.data_engine.rules import Draft, Rules, faults
from reasonseg_ros.data_engine.store import ReplyStore, StoredReply, request_key
from reasonseg_ros.errors import InvalidInput, ReasonSegError
from reasonseg_ros.plain_text import one_line
from reasonseg_ros.reasoner.call import Call, never
from reasonseg_ros.types import BoolMask, RgbImage, Status

SIMPLE, COMPLEX = "simple", "complex"
LONGEST_SHOWN = 200
"""Characters of a text that was refused."""
MOST_SIMPLE = 5
"""Categories of a simple picture, as in LLM-Seg40K; more are complex."""


class NoReply(ReasonSegError):
    """The model gave no reply, so that the picture is to be asked about in another run."""


class Stopped(ReasonSegError):
    """The run was asked to stop."""


@dataclass(frozen=True)
class Wishes:
    """What is wanted of a picture.

    Attributes:
        questions: for each picture.
        tries: requests for a caption, and for questions, before what is lacking is given up.
        least_categories: pictures with fewer are left out.
    """

    questions: int = 5
    tries: int = 3
    least_categories: int = 2
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        for name, value, most in (("questions", self.questions, 20), ("tries", self.tries, 10)):
            if not 1 <= value <= most:
                raise InvalidInput(f"{value} {name}; expected 1 to {most}")
        if not 1 <= self.least_categories <= 20:
            raise InvalidInput(f"{self.least_categories} categories at least; expected 1 to 20")


@dataclass(frozen=True, eq=False)
class Questioned:
    """What came of a picture.

    Attributes:
        objects: with the names that the model gave.
        kind: simple or complex.
        refused: every text that was not taken, with its reasons.
        left_out: why the picture has no questions; empty if it was asked about.
    """

    objects: tuple[ListedObject, ...] = ()
    kind: str = ""
    accepted: tuple[Draft, ...] = ()
    refused: tuple[Refused, ...] = ()
    left_out: str = ""


@dataclass(frozen=True)
class PictureAsker:
    """Asks about pictures. Any thread may call it; replies that are stored are not asked for again."""

    model: Model
    store: ReplyStore
    wishes: Wishes
    is_stopped: Callable[[], bool] = never

    def questions(self, name: str, picture: LoadedPicture) -> Questioned:
        """All that can be had for a picture. Raises NoReply if the model is silent, Stopped if the run ends."""
        objects = picture.objects
        fewest = self.wishes.least_categories
        if len(objects) < fewest or (all(one.name for one in objects) and _categories(objects) < fewest):
            return Questioned(objects, left_out=_too_few(objects, fewest))
        about = _Picture(self, name, picture)
        caption = about.caption()
        if caption is None:
            return Questioned(objects, refused=tuple(about.refused), left_out="no usable caption; see what was refused")
        objects = tuple(replace(one, name=one.name or caption.names[number]) for number, one in enumerate(objects, 1))
        if _categories(objects) < fewest:
            return Questioned(objects, refused=tuple(about.refused), left_out=_too_few(objects, fewest))
        accepted = about.questions(objects, caption)
        kind = SIMPLE if _categories(objects) <= MOST_SIMPLE else COMPLEX
        return Questioned(objects, kind, tuple(accepted), tuple(about.refused))


class _Picture:
    """One picture while it is asked about. `refused` grows."""

    def __init__(self, asker: PictureAsker, name: str, picture: LoadedPicture) -> None:
        self.asker, self.name, self.picture = asker, name, picture
        self.refused: list[Refused] = []
        self._images = [picture.rgb, picture.marked()]
        # The outlines are part of what is asked: other masks of the same image are another request.
        self._seen = f"{VERSION} {picture.digest} {masks_digest(one.mask for one in picture.objects)}"

    def caption(self) -> Caption | None:
        """None if no reply can be used."""
        objects = self.picture.objects
        unnamed = [number for number, one in enumerate(objects, 1) if not one.name]
        words, images = caption_words(objects), self._images if unnamed else self._images[:1]
        received = 0
        for tries_left in reversed(range(self.asker.wishes.tries)):
            text = self._said(words, images, received, tries_left)
            if text is None:
                continue
            received += 1
            try:
                return read_caption(text, unnamed)
            except InvalidInput as error:
                self.refused.append(Refused(one_line(text, LONGEST_SHOWN), (str(error),)))
        return None

    def questions(self, objects: Sequence[ListedObject], caption: Caption) -> list[Draft]:
        """Those that break no rule. What breaks one is asked again, with the reasons."""
        wishes = self.asker.wishes
        accepted: list[Draft] = []
        again: list[Refused] = []
        received = 0
        for tries_left in reversed(range(wishes.tries)):
            lacking = wishes.questions - len(accepted)
            if not lacking:
                break
            words = question_words(caption.text, objects, lacking, wishes.rules, accepted, again)
            text = self._said(words, self._images, received, tries_left)
            if text is None:
                continue
            received += 1
            again = self._sift(text, objects, accepted)
            self.refused += again
        return accepted

    def _sift(self, text: str, objects: Sequence[ListedObject], accepted: list[Draft]) -> list[Refused]:
        """Add the good questions of a reply to `accepted`; returns the others."""
        wishes = self.asker.wishes
        try:
            drafts, refused = read_drafts(text)
        except InvalidInput as error:
            return [Refused(one_line(text, LONGEST_SHOWN), (str(error),))]
        for draft in drafts:
            found = faults(draft, objects, accepted, wishes.rules)
            if not found and len(accepted) == wishes.questions:
                found = [f"there are {len(accepted)} questions already"]
            if found:
                refused.append(Refused(one_line(draft.question, LONGEST_SHOWN), tuple(found)))
            else:
                accepted.append(draft)
        return refused

    def _said(self, words: str, images: Sequence[RgbImage], received: int, tries_left: int) -> str | None:
        """The model's words, stored ones if there are any; None if it was too slow, which counts as a try.

        `received`: replies to earlier tries. It tells requests in the same words apart, and does not count silence, so
        that a run that goes on finds the replies of the earlier one.
        """
        asker = self.asker
        if asker.is_stopped():
            raise Stopped("stopped")
        key = request_key(asker.model.name, asker.model.sampling, received, words, f"{self._seen} {len(images)}")
        stored = asker.store.get(key)
        if stored is not None:
            return stored.text
        reply = asker.model.reply(images, words, Call(cancelled=asker.is_stopped))
        if reply.status is Status.CANCELLED:
            raise Stopped("stopped")
        if reply.status is Status.TIMEOUT and tries_left:
            self.refused.append(Refused("", (reply.error,)))
            return None
        if reply.status is not Status.OK:
            raise NoReply(reply.error)
        asker.store.put(StoredReply(key, self.name, reply.text, reply.is_cut, reply.prompt_tokens, reply.tokens))
        return reply.text


def masks_digest(masks: Iterable[BoolMask]) -> str:
    """Differs between masks of one image, and between their orders: replies name objects by their numbers."""
    found = hashlib.sha256()
    for mask in masks:
        found.update(np.packbits(mask).tobytes())
    return found.hexdigest()[:32]


def _categories(objects: Sequence[ListedObject]) -> int:
    return len({one.name.casefold() for one in objects})


def _too_few(objects: Sequence[ListedObject], fewest: int) -> str:
    return f"{len(objects)} objects of {_categories(objects)} categories; expected {fewest} categories at least"
