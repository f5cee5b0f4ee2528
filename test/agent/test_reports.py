"""Answers' messages as an agent gets them."""

import json
from dataclasses import asdict

import numpy as np
import pytest

pytest.importorskip("reasonseg_ros.msg", reason="needs the built messages")
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point, Pose, Vector3
from std_msgs.msg import Header

from reasonseg_ros import msg
from reasonseg_ros.agent.reports import (
    MEANINGS,
    MOST_CHARACTERS,
    MOST_REGIONS,
    MOST_SIGHTINGS,
    answer_report,
    follow_report,
)
from reasonseg_ros.images.mask_codec import encode_mask
from reasonseg_ros.types import Status


def region(x=2.0, track=0, center_m=None):
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:6] = True
    message = msg.Region(id=1, label="mug", box=msg.Box(x1=x, y1=1.0, x2=x + 4, y2=4.0), mask_score=0.875)
    message.mask = msg.Mask(**vars(encode_mask(mask, "rle")))
    message.track_id = track
    if center_m is not None:
        message.has_3d = True
        pose = Pose(position=Point(x=center_m[0], y=center_m[1], z=center_m[2]))
        message.box_3d = msg.Box3D(pose=pose, size=Vector3(x=0.1, y=0.2, z=0.3))
    return message


def answer(*regions, status="ok", seconds=7, **fields):
    header = Header(stamp=Time(sec=seconds, nanosec=500_000_000))
    return msg.Segmentation(header=header, status=status, width=8, height=6, regions=list(regions), **fields)


def test_an_answer_has_its_status_confidence_and_regions():
    message = answer(
        region(center_m=(1.0, 2.0, 0.5)), has_confidence=True, confidence=0.75, frame_3d="base", thought="there"
    )
    report = answer_report(message)
    assert (report.status, report.is_answer, report.confidence, report.frame_3d) == ("ok", True, 0.75, "base")
    assert (report.image_wh_px, report.image_stamp_s, report.thought) == ([8, 6], 7.5, "there")
    (mug,) = report.regions
    assert (mug.box_xyxy_px, mug.area_px, mug.mask_score) == ([2.0, 1.0, 6.0, 4.0], 12, 0.875)
    assert (mug.center_m, mug.size_m) == ([1.0, 2.0, 0.5], [0.1, 0.2, 0.3])
    json.dumps(asdict(report), allow_nan=False)


@pytest.mark.parametrize(
    ("fields", "boxes"),
    [({}, None), ({"has_alternative": True}, []), ({"has_alternative": True, "alternative": [region(3.0)]}, [3.0])],
)
def test_an_unsure_answer_has_the_second_best_candidate(fields, boxes):
    report = answer_report(answer(region(), status="unsure", error="why", **fields))
    assert (report.alternative and [one.box_xyxy_px[0] for one in report.alternative]) == boxes
    assert len(report.regions) == 1


@pytest.mark.parametrize("status", Status)
def test_every_status_is_said_in_words_and_only_answers_are_answers(status):
    report = answer_report(answer(status=str(status), error="why"))
    assert report.meaning == MEANINGS[status] and report.meaning.endswith(".")
    assert report.is_answer is (status in (Status.OK, Status.NO_TARGET))
    assert report.confidence is None and report.error == "why"


def test_reports_are_bounded():
    report = answer_report(answer(*[region()] * 50, thought="word " * 10_000))
    assert (len(report.regions), report.regions_left_out) == (MOST_REGIONS, 50 - MOST_REGIONS)
    assert len(report.thought) <= MOST_CHARACTERS
    answers = [answer(region(x=float(second), track=1), seconds=second) for second in range(300)]
    report = follow_report(answers, "after 5 s")
    assert report.images == 300 and len(report.sightings) == MOST_SIGHTINGS
    first, last = report.sightings[0], report.sightings[-1]
    assert (first.seconds, first.box_xyxy_px[0], last.seconds, last.box_xyxy_px[0]) == (0.0, 0.0, 299.0, 299.0)


def test_images_without_the_target_are_no_sightings():
    answers = [answer(region(track=1)), answer(status="empty_mask", error="hidden", seconds=8)]
    report = follow_report(answers, "lost: hidden")
    assert (report.images, len(report.sightings), report.answer.status) == (2, 1, "ok")
    assert follow_report([answer(status="no_target")], "no_target").sightings == []
