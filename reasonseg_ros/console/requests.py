"""The requests of browsers: one function each, by name. It checks the request's values and returns plain JSON."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from rclpy.serialization import serialize_message
from std_srvs.srv import SetBool, Trigger

from reasonseg_ros import msg, srv
from reasonseg_ros.config import METHODS
from reasonseg_ros.console import wire
from reasonseg_ros.console.desk import NO_IMAGE, Desk
from reasonseg_ros.console.history import MOST_PIECES, Exchange
from reasonseg_ros.console.image_cache import RawMessage
from reasonseg_ros.console.pictures import frame_of
from reasonseg_ros.console.review import review_decision, review_page
from reasonseg_ros.console.truths import ANSWER_KIND, NewTruth
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.faults import reason
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.plain_text import check_plain
from reasonseg_ros.ros.conversion import header_message, pixels_message
from reasonseg_ros.stamps import header_stamp_ns
from reasonseg_ros.types import BoolMask, Mode, Status

LONGEST_QUESTION = 4000
MOST_PROMPTS = 100
MARKS = ("", "right", "wrong", "nothing")

_numbers = itertools.count(1)
_PREFIX = f"console-{secrets.token_hex(3)}"

_Values = Mapping[str, Any]


async def answer_request(desk: Desk, text: str) -> str:
    """The reply to one message of a browser. Never raises: errors become the reply's `error`."""
    number: Any = None
    try:
        values = json.loads(text)
        if not isinstance(values, dict):
            raise InvalidInput("a request is a JSON object")
        number = values.get("request")
        name = values.get("do")
        if not isinstance(name, str) or name not in REQUESTS:
            raise InvalidInput(f"request {name!r:.40}; known are {', '.join(REQUESTS)}")
        result = await REQUESTS[name](desk, values)
        return wire.text_of("reply", request=number, result=result)
    except (RecursionError, json.JSONDecodeError) as error:
        return wire.text_of("reply", request=None, error=f"no JSON: {error}")
    except Exception as error:
        return wire.text_of("reply", request=number if isinstance(number, int) else None, error=reason(error))


async def _ask(desk: Desk, values: _Values) -> dict[str, Any]:
    """Ask `text` about the newest image in a `mode`. `frames` bounds standing modes; 0 means until cleared."""
    question = _text(values, "text", LONGEST_QUESTION)
    if not question.strip():
        raise InvalidInput("the question is empty; write one")
    check_plain(question, "question")
    mode = _text(values, "mode", 20)
    if mode not in list(Mode):
        raise InvalidInput(f"mode {mode!r}; expected one of {', '.join(Mode)}")
    frames = _whole(values.get("frames", 0), "frames", 10**6)
    entry = desk.history.new(f"{_PREFIX}-{next(_numbers)}", question, mode)
    desk.tell_entry(entry)
    desk.robot.ask(entry.query_id, question, mode, frames)
    return {"number": entry.number}


async def _cancel(desk: Desk, values: _Values) -> dict[str, Any]:
    """Cancel the question of an entry. Its answer then has the status `cancelled`."""
    desk.robot.cancel(_entry(desk, values).query_id)
    return {}


async def _clear(desk: Desk, values: _Values) -> dict[str, Any]:
    """End all questions of the node, including those of other clients."""
    response = await asyncio.wrap_future(desk.robot.call("clear", Trigger.Request()))
    return {"text": response.message}


async def _pause(desk: Desk, values: _Values) -> dict[str, Any]:
    """Pause the node (`on` true: it refuses questions), or resume it."""
    is_on = values.get("on")
    if not isinstance(is_on, bool):
        raise InvalidInput(f"on = {is_on!r:.40}; expected true or false")
    response = await asyncio.wrap_future(desk.robot.call("enable", SetBool.Request(data=not is_on)))
    if not response.success:
        raise InvalidInput(response.message)
    return {"text": "paused" if is_on else "resumed"}


async def _method(desk: Desk, values: _Values) -> dict[str, Any]:
    """Switch the node to the method `name`. The node reloads its models."""
    name = _text(values, "name", 40)
    if name not in METHODS:
        raise InvalidInput(f"method {name!r}; expected one of {', '.join(METHODS)}")
    for transition in ("deactivate", "cleanup"):
        await _change_state(desk, transition)
    value = Parameter("method", value=name).to_parameter_msg()
    response = await asyncio.wrap_future(desk.robot.call("set_parameters", SetParameters.Request(parameters=[value])))
    refused = [result.reason for result in response.results if not result.successful]
    for transition in ("configure", "activate"):
        await _change_state(desk, transition)
    if refused:
        raise InvalidInput(f"method {name}: {refused[0]}; the node keeps its method")
    return {"text": f"the node now uses {name}"}


async def _change_state(desk: Desk, transition: str) -> None:
    request = ChangeState.Request()
    request.transition.label = transition
    response = await asyncio.wrap_future(desk.robot.call("change_state", request))
    if not response.success:
        raise InvalidInput(f"the node did not {transition}; see its diagnostics and its log")


async def _hold(desk: Desk, values: _Values) -> dict[str, Any]:
    """Make an entry of the live image with `stamp_ns`, to prompt and save without asking a question."""
    stamp = _text(values, "stamp_ns", 20)
    shot = desk.cache.at(int(stamp)) if stamp.isascii() and stamp.isdigit() else None
    if shot is None:
        raise InvalidInput("that live image is no longer cached; draw on the current one")
    entry = desk.history.new(f"{_PREFIX}-{next(_numbers)}", "", "")
    entry.error = "not asked"
    await desk.take_image(entry, shot)
    desk.tell_entry(entry)
    return {"number": entry.number}


async def _prompt(desk: Desk, values: _Values) -> dict[str, Any]:
    """One mask on the image of an entry, for `boxes_xyxy` (at most one) and `points_xy` with `labels`. In pixels."""
    entry = _entry(desk, values)
    if entry.shot is None:
        raise InvalidInput(f"{NO_IMAGE}; ask again, or hold the live image")
    if len(entry.pieces) >= MOST_PIECES:
        raise InvalidInput(f"{MOST_PIECES} masks on one image are the maximum; hold the image again")
    request = srv.Prompt.Request(
        boxes=[msg.Box(x1=x1, y1=y1, x2=x2, y2=y2) for x1, y1, x2, y2 in _rows(values, "boxes_xyxy", 4)],
        points=[msg.Point2D(x=x, y=y) for x, y in _rows(values, "points_xy", 2)],
        point_labels=[_whole(label, "label", 1) for label in _list(values, "labels")],
    )
    frame = await asyncio.to_thread(frame_of, entry.shot.image)
    request.image = pixels_message(header_message(frame), frame.rgb)
    response = await asyncio.wrap_future(desk.robot.call("prompt", request))
    answer = response.segmentation
    if answer.status != Status.OK:
        raise InvalidInput(f"{answer.status}: {answer.error}")
    mask = _union([decode_mask(region.mask) for region in answer.regions], entry)
    number = entry.add_piece(mask)
    return wire.piece_values(number, mask, [region.mask_score for region in answer.regions])


async def _mark(desk: Desk, values: _Values) -> dict[str, Any]:
    """Mark an entry as `right`, `wrong` or `nothing` (nothing fits the question); empty removes the mark."""
    entry = _entry(desk, values)
    mark = _text(values, "mark", 20)
    if mark not in MARKS:
        raise InvalidInput(f"mark {mark!r}; expected one of {', '.join(MARKS[1:])}, or an empty text")
    entry.mark = mark
    desk.tell_entry(entry)
    return {}


async def _save(desk: Desk, values: _Values) -> dict[str, Any]:
    """Save an entry as ground truth: `question`, and `pieces`, the numbers of its masks; none if nothing fits."""
    entry = _entry(desk, values)
    if entry.shot is None:
        raise InvalidInput(f"{NO_IMAGE}; ask again while the camera runs")
    numbers = [_whole(number, "piece", 10**6) for number in _list(values, "pieces")]
    unknown = [number for number in numbers if number not in entry.pieces]
    if unknown:
        raise InvalidInput(f"piece {unknown[0]}; this image has {', '.join(map(str, entry.pieces)) or 'none'}")
    question = _text(values, "question", LONGEST_QUESTION)
    check_plain(question, "question")
    asked = entry.answer if entry.answer is not None and question == entry.question else None
    answer = None
    if asked is not None:
        answer = RawMessage(ANSWER_KIND, header_stamp_ns(asked.header), serialize_message(asked))
    truth = NewTruth(
        question=question,
        shot=desk.robot.feed.with_info(entry.shot),
        size_wh=entry.size_wh,
        frame_id=entry.frame_id,
        masks=[entry.pieces[number] for number in numbers],
        answer=answer,
        thought=entry.thought if entry.mark == "right" and asked is not None else "",
    )
    async with desk.truth_lock:
        saved = await asyncio.to_thread(desk.truths.save, truth)
    entry.saved = saved.name
    desk.tell_entry(entry)
    _tell_truths(desk)
    return {"name": saved.name}


async def _delete(desk: Desk, values: _Values) -> dict[str, Any]:
    """Delete the ground truth `name`; `undo` restores it."""
    name = _text(values, "name", 60)
    async with desk.truth_lock:
        await asyncio.to_thread(desk.truths.delete, name)
    _tell_truths(desk)
    return {}


async def _undo(desk: Desk, values: _Values) -> dict[str, Any]:
    """Undo the last save or delete."""
    async with desk.truth_lock:
        text = await asyncio.to_thread(desk.truths.undo)
    _tell_truths(desk)
    return {"text": text}


REQUESTS: dict[str, Callable[[Desk, _Values], Awaitable[dict[str, Any]]]] = {
    "ask": _ask,
    "cancel": _cancel,
    "clear": _clear,
    "pause": _pause,
    "method": _method,
    "hold": _hold,
    "prompt": _prompt,
    "mark": _mark,
    "save": _save,
    "delete": _delete,
    "undo": _undo,
    "review": review_page,
    "decide": review_decision,
}


def _tell_truths(desk: Desk) -> None:
    for entry in desk.history.entries.values():
        if entry.saved and entry.saved not in desk.truths.saved:
            entry.saved = ""
            desk.tell_entry(entry)
    desk.viewers.tell(wire.text_of("truths", **wire.truth_values(desk.truths)))


def _entry(desk: Desk, values: _Values) -> Exchange:
    number = _whole(values.get("number"), "number", 10**9)
    if number not in desk.history.entries:
        raise InvalidInput(f"entry {number} is no longer in the history; ask again")
    return desk.history.entries[number]


def _union(masks: list[BoolMask], entry: Exchange) -> BoolMask:
    union: BoolMask = np.logical_or.reduce(masks)
    if union.shape != entry.size_wh[::-1]:
        sizes = [f"{width} x {height}" for width, height in (union.shape[::-1], entry.size_wh)]
        raise InvalidInput(f"the node's mask is {sizes[0]}, the image {sizes[1]}; ask again")
    return union


def _text(values: _Values, name: str, longest: int) -> str:
    text = values.get(name, "")
    if not isinstance(text, str) or len(text) > longest:
        raise InvalidInput(f"{name} = {text!r:.60}; expected a text of at most {longest} characters")
    return text


def _whole(value: Any, name: str, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise InvalidInput(f"{name} = {value!r:.40}; expected a whole number from 0 to {most}")
    return value


def _list(values: _Values, name: str) -> list[Any]:
    found = values.get(name, [])
    if not isinstance(found, list) or len(found) > MOST_PROMPTS:
        raise InvalidInput(f"{name} = {found!r:.40}; expected a list of at most {MOST_PROMPTS}")
    return found


def _rows(values: _Values, name: str, length: int) -> list[list[float]]:
    rows = []
    for row in _list(values, name):
        is_row = isinstance(row, list) and len(row) == length
        if not is_row or not all(isinstance(x, int | float) and math.isfinite(x) and abs(x) < 1e6 for x in row):
            raise InvalidInput(f"{name}: {row!r:.60}; expected {length} finite numbers")
        rows.append([float(x) for x in row])
    return rows
