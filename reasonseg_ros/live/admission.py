"""Which questions are accepted, and why others are refused."""

from __future__ import annotations

import math

from reasonseg_ros.config import QueryConfig
from reasonseg_ros.config.models import ReasonerConfig
from reasonseg_ros.config.setting import check
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.questions import Question
from reasonseg_ros.reasoner.chat.prompts import normalise_question
from reasonseg_ros.types import Mode

MAX_ID_CHARACTERS = 256


def check_question(question: Question, settings: QueryConfig, can_track: bool, sees_videos: bool) -> None:
    """Raises InvalidInput or ConfigError for a question that cannot be answered.

    `can_track`: there are trackers. `sees_videos`: the method's.
    """
    query, call = question.query, question.call
    if question.groundings is None and not question.proposes:
        normalise_question(query.text, settings.max_characters)
    if len(query.query_id) > MAX_ID_CHARACTERS:
        raise InvalidInput(f"query_id of {len(query.query_id)} characters; at most {MAX_ID_CHARACTERS}")
    if query.mode is Mode.TRACK and not can_track:
        raise InvalidInput("mode track: this segmenter cannot follow; use mode once or watch, or the method rev_seg")
    if query.mode is Mode.HISTORY and not sees_videos:
        raise InvalidInput("mode history: this method looks at one image only; use the method rev_seg")
    if query.mode is not Mode.ONCE and question.frame is not None:
        raise InvalidInput(f"mode {query.mode} with an image in the request; it needs the camera's")
    limits = ReasonerConfig.__dataclass_fields__
    if call.time_limit_s != 0 or math.isnan(call.time_limit_s):
        check("time_limit_s", limits["time_limit_s"], call.time_limit_s)
    check("max_new_tokens", limits["max_new_tokens"], call.max_new_tokens)
