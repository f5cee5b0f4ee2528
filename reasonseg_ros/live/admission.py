"""Which questions are taken in at all, and why others are refused."""

from __future__ import annotations

import math

from reasonseg_ros.config import QueryConfig, ReasonerConfig, check
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.live.requests import Request
from reasonseg_ros.reasoner.prompts import normalise_question
from reasonseg_ros.types import Mode

MAX_ID_CHARACTERS = 256


def check_request(request: Request, query: QueryConfig, can_follow: bool) -> None:
    """Raises InvalidInput or ConfigError for what could not be answered. `can_follow`: the method has trackers."""
    if request.groundings is None:
        normalise_question(request.query.text, query.max_characters)
    if len(request.query.query_id) > MAX_ID_CHARACTERS:
        raise InvalidInput(f"query_id of {len(request.query.query_id)} characters; at most {MAX_ID_CHARACTERS}")
    if request.query.mode is Mode.TRACK and not can_follow:
        raise InvalidInput("mode track: this segmenter cannot follow; use mode once or watch, or the method rev_seg")
    if request.query.mode is Mode.HISTORY and not can_follow:
        raise InvalidInput("mode history: this method knows one image only; use the method rev_seg")
    if request.query.mode is not Mode.ONCE and request.frame is not None:
        raise InvalidInput(f"mode {request.query.mode} with an image of its own; it needs the camera's")
    limits = ReasonerConfig.__dataclass_fields__
    if request.time_limit_s != 0 or math.isnan(request.time_limit_s):
        check("time_limit_s", limits["time_limit_s"], request.time_limit_s)
    check("max_new_tokens", limits["max_new_tokens"], request.max_new_tokens)
