"""The demo's moving scene: the node tracks a target while the bag plays, and is then asked what happened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import cv2
from rich.console import Console

from reasonseg_ros.bags import BagReader, header_stamp_ns
from reasonseg_ros.bags.topics import GROUND_TRUTH_TOPIC, IMAGE_TOPIC, QUERY_TOPIC
from reasonseg_ros.demo import report
from reasonseg_ros.demo.client import DemoClient
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.images.messages import rgb_from_compressed
from reasonseg_ros.msg import Query
from reasonseg_ros.types import BoolMask

REFUSED = {"seg_zero": (Query.TRACK, Query.HISTORY), "llm_seg": (Query.HISTORY,)}
"""Modes that methods for single images refuse. The other methods accept all modes."""


@dataclass(frozen=True, eq=False)
class MovingBag:
    """The image stamps and questions of a bag. `truth` has the target's mask by question id and image stamp."""

    bag: Path
    stamps_ns: tuple[int, ...]
    queries: tuple[Any, ...]
    truth: Mapping[tuple[str, int], BoolMask]


def read_moving(bag: Path) -> MovingBag:
    """Read a bag of a moving scene. Raises InvalidInput if it has fewer than two images, or no questions."""
    stamps_ns, queries, truth = [], [], {}
    with BagReader(bag) as reader:
        for topic, _, message in reader.messages([IMAGE_TOPIC, QUERY_TOPIC, GROUND_TRUTH_TOPIC]):
            if topic == IMAGE_TOPIC:
                stamps_ns.append(header_stamp_ns(message.header))
            elif topic == QUERY_TOPIC:
                queries.append(message)
            else:
                truth[message.query_id, header_stamp_ns(message.header)] = decode_mask(message.mask)
    if len(stamps_ns) < 2 or not queries:
        raise InvalidInput(f"{bag} has {len(stamps_ns)} images and {len(queries)} questions; a moving scene needs both")
    return MovingBag(bag, tuple(stamps_ns), tuple(queries), truth)


def follow(
    client: DemoClient, moving: MovingBag, film: Path, console: Console, method: str = ""
) -> list[report.Moving]:
    """Ask the tracking questions on the first image, play the others, then ask what happened.

    Writes `film` (MP4) with the masks of the first tracking question.
    """
    client.restart()
    results = []
    tracked = [query for query in moving.queries if query.mode == Query.TRACK]
    first = {}
    with console.status("A moving scene ..."):
        for query in tracked:
            first[query.query_id] = client.first_answer(_query(query), moving.stamps_ns)
        overlays = client.run(moving.stamps_ns[1:], tracked[0].query_id if tracked else "")
    _write_film(film, overlays, moving.stamps_ns)
    for query in moving.queries:
        answer = first.get(query.query_id) or client.first_answer(_query(query), moving.stamps_ns)
        found = _result(query, answer, client, moving)
        results.append(replace(found, has_to_be_refused=query.mode in REFUSED.get(method, ())))
        console.print(report.moving_panel(results[-1]))
    return results


def _query(query: Any) -> Query:
    return Query(query_id=query.query_id, text=query.text, mode=query.mode)


def _result(query: Any, answer: Any, client: DemoClient, moving: MovingBag) -> report.Moving:
    shown = {
        stamp_ns: masks
        for (query_id, stamp_ns), masks in client.masks.items()
        if query_id == query.query_id and stamp_ns in moving.stamps_ns
    }
    last = shown[max(shown)] if shown else answer
    ious = [report.answer_iou(masks, moving.truth[query.query_id, stamp_ns]) for stamp_ns, masks in shown.items()]
    return report.Moving(
        question=query.text,
        mode=query.mode,
        thought=answer.thought,
        status=last.status,
        iou=round(mean(ious), 4) if ious else 0.0,
        frames=len(moving.stamps_ns),
        masks=len(shown),
        seconds=round(answer.total_s, 3),
        error=last.error,
    )


def _write_film(path: Path, overlays: Mapping[int, Any], stamps_ns: tuple[int, ...]) -> None:
    """Write the overlays as MP4 at the rate of the images. A missing overlay repeats the previous one."""
    if not overlays:
        return
    pictures = {stamp_ns: rgb_from_compressed(overlay) for stamp_ns, overlay in overlays.items()}
    rate_hz = (len(stamps_ns) - 1) * 1e9 / (stamps_ns[-1] - stamps_ns[0])
    height, width = next(iter(pictures.values())).shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), rate_hz, (width, height))
    shown = None
    for stamp_ns in stamps_ns:
        shown = pictures.get(stamp_ns, shown)
        if shown is not None:
            writer.write(cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))
    writer.release()
