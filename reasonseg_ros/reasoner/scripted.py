"""A reasoner that writes given texts, word by word: for tests of everything that uses a reasoner."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reasonseg_ros.reasoner.abilities import Ability, Exploration, Explored, Reply, failed_reply
from reasonseg_ros.reasoner.call import WAIT, Call, ignore
from reasonseg_ros.reasoner.dialects.parsing import parse_answer
from reasonseg_ros.reasoner.limits import Limits
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.reasoner.rounds import Keyframe, failed_keyframe, parse_keyframe
from reasonseg_ros.types import Answer, FloatArray, Frame, RgbImage, Status


class ScriptedReasoner(Reasoner):
    """Answers with `texts` in turn, from the first again after the last; a word counts as a token.

    Instead of a text there may be an Answer, which is returned as it is, or an exception, which is raised.

    Coordinates in the texts are pixels of an image of size `answer_wh`, by default of the camera image. `word_s` is the
    time before each word in seconds. `questions` lists what was asked. Samples and replies are the next texts.
    `attention`, float32 [rows, columns], is returned for every answer.
    """

    name = "scripted"
    abilities = frozenset(Ability)

    def __init__(
        self,
        texts: Sequence[str | Answer | Exception],
        *,
        word_s: float = 0.0,
        dialect: str = "auto",
        answer_wh: tuple[int, int] | None = None,
        attention: FloatArray | None = None,
    ) -> None:
        self.texts = list(texts)
        self.word_s = word_s
        self.dialect = dialect
        self.answer_wh = answer_wh
        self.attention = np.ones((3, 4), np.float32) if attention is None else attention
        self.questions: list[str] = []

    def answer(self, frame: Frame, text: str, call: Call = WAIT) -> Answer:
        said = self._say(text, call)
        if isinstance(said, Answer):
            return said
        words, tokens, cut = said
        answer = parse_answer(
            words, frame.size_wh, dialect=self.dialect, answer_wh=self.answer_wh or frame.size_wh, cut=cut
        )
        return replace(answer, model=self.name, tokens=tokens)

    def explore(self, frame: Frame, text: str, wanted: Exploration, call: Call = WAIT) -> Explored:
        answer = self.answer(frame, text, call)
        silent = replace(call, on_text=ignore)
        samples = [] if call.cancelled() else [self.answer(frame, text, silent) for _ in range(wanted.samples)]
        return Explored(answer, tuple(samples), self.attention if wanted.attention else None)

    def reply(self, images: Sequence[RgbImage], words: str, call: Call = WAIT) -> Reply:
        said = self._say(words, call)
        return failed_reply(said) if isinstance(said, Answer) else Reply(Status.OK, said[0], is_cut=said[2])

    def choose(self, frames: Sequence[Frame], text: str, call: Call = WAIT) -> Keyframe:
        said = self._say(text, call)
        if isinstance(said, Answer):
            return failed_keyframe(said)
        words, tokens, cut = said
        return parse_keyframe(words, len(frames), cut, tokens)

    def _say(self, text: str, call: Call) -> tuple[str, int, bool] | Answer:
        """The next text up to the limits, its number of words and whether words are missing; or the Answer instead."""
        limits = Limits(call.max_new_tokens, call.time_limit_s or 3600.0, call.cancelled, call.on_text)
        script = self.texts[len(self.questions) % len(self.texts)]
        self.questions.append(text)
        if isinstance(script, Exception):
            raise script
        if isinstance(script, Answer):
            return script
        words = re.findall(r"\s*\S+", script)
        spoken = words[: limits.max_new_tokens or None]
        said = ""
        for tokens, word in enumerate(spoken):
            time.sleep(min(self.word_s, max(limits.remaining_s, 0)))
            if status := limits.broken():
                return limits.stopped(status, said, tokens, self.name)
            said += word
            limits.on_text(said, tokens + 1)
        return said, len(spoken), len(spoken) < len(words)
