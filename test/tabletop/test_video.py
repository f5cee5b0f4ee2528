from __future__ import annotations

import numpy as np
import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.tabletop.videos.film import film
from reasonseg_ros.tabletop.videos.video import EVENT_KINDS, Video
from reasonseg_ros.tabletop.world import World

SEEDS = (100, 104, 108, 110)


@pytest.fixture(scope="module")
def videos(world: World) -> list[Video]:
    return [film(world, seed) for seed in SEEDS]


def test_every_kind_of_event_occurs(videos: list[Video]) -> None:
    assert {event.kind for video in videos for event in video.events} == set(EVENT_KINDS)


def test_every_event_shows_in_the_frames(videos: list[Video]) -> None:
    for video in videos:
        for event in video.events:
            assert 0 < event.first_frame <= event.last_frame < len(video.scenes)
            before, after = (video.scenes[i].objects[event.instance_id - 1] for i in (event.first_frame - 1, -1))
            shift_m = np.linalg.norm(np.subtract(after.position_m, before.position_m)[:2])
            if event.kind in ("pushed", "rolled"):
                assert shift_m > 0.07 and after.area_px > 0
            elif event.kind == "fell":
                assert after.size_m[2] < 0.75 * before.size_m[2]
            elif event.kind == "put_down":
                assert before.area_px == 0 and after.visible_share > 0.5
                assert after.position_m[2] == pytest.approx(after.size_m[2] / 2, abs=0.003)
            else:
                assert before.visible_share > 0.7 and after.visible_share <= 0.2 and shift_m < 0.01


def test_whoever_has_no_event_stays(videos: list[Video]) -> None:
    for video in videos:
        acting = {event.instance_id for event in video.events if event.kind != "hidden"}
        for first, last in zip(video.scenes[0].objects, video.scenes[-1].objects, strict=True):
            assert (first.category, first.color) == (last.category, last.color)
            if first.instance_id not in acting:
                assert last.position_m == pytest.approx(first.position_m, abs=0.01)


def test_nothing_changes_before_the_first_event_or_after_the_last(videos: list[Video]) -> None:
    for video in videos:
        start = min(event.first_frame for event in video.events)
        end = max(event.last_frame for event in video.events)
        for frame in range(1, start):
            assert np.mean(video.scenes[frame].instance_ids != video.scenes[0].instance_ids) < 0.002
        for frame in range(end, len(video.scenes)):
            assert np.mean(video.scenes[frame].instance_ids != video.scenes[-1].instance_ids) < 0.004


def test_a_seed_gives_the_same_video(world: World, videos: list[Video]) -> None:
    world.scene(5)
    again = film(world, SEEDS[0])
    assert again.events == videos[0].events
    assert all(np.array_equal(a.rgb, b.rgb) for a, b in zip(again.scenes, videos[0].scenes, strict=True))


@pytest.mark.parametrize(("frames", "rate_hz"), [(8, 8.0), (24, 0.0), (0, 8.0)])
def test_too_short_a_video_is_refused(world: World, frames: int, rate_hz: float) -> None:
    with pytest.raises(InvalidInput, match=f"{frames} frames"):
        film(world, 1, frames, rate_hz)
