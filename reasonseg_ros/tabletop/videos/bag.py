"""Bags of simulated tabletop videos: questions about events, with ground truth for every frame."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reasonseg_ros import bags
from reasonseg_ros.bags.topics import GROUND_TRUTH_TOPIC, QUERY_TOPIC, START_NS
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.tabletop.bag import ground_truth, write_scene
from reasonseg_ros.tabletop.questions.question import SceneQuestion, ThoughtPiece
from reasonseg_ros.tabletop.scene import Scene
from reasonseg_ros.tabletop.videos.film import film
from reasonseg_ros.tabletop.videos.temporal import ask_about
from reasonseg_ros.tabletop.videos.video import Video
from reasonseg_ros.tabletop.world import RESERVED_SEED, World
from reasonseg_ros.types import Mode, Query

PAUSE_NS = 10**9
"""Minimum time between the last frame of a video and the first of the next."""


@dataclass(frozen=True)
class VideoBagPlan:
    """Videos of the seeds `seed`, `seed + 1`, ..., with up to `questions` about the events of each.

    With `track`, there is also a request to track the target of the first question from the first image on. Raises
    InvalidInput for a value out of range.
    """

    seed: int
    videos: int
    questions: int = 1
    frames: int = 24
    rate_hz: float = 8.0
    phrasing: str = "train"
    depth: bool = True
    track: bool = False

    def __post_init__(self) -> None:
        if self.videos < 1 or self.questions < 0:
            raise InvalidInput(f"{self.videos} videos with {self.questions} questions; expected 1 video at least")
        if self.seed < 0 or self.seed + self.videos > RESERVED_SEED:
            seeds = f"seeds {self.seed} to {self.seed + self.videos - 1}"
            raise InvalidInput(f"{seeds}; expected 0 to {RESERVED_SEED - 1}, the others are reserved")

    @property
    def period_ns(self) -> int:
        """Time from the start of one video to the start of the next, whole seconds."""
        return math.ceil(self.frames / self.rate_hz) * 10**9 + PAUSE_NS


def write_video_bag(plan: VideoBagPlan, world: World, path: Path, force: bool = False) -> Iterator[int]:
    """Write the bag, and yield the number of finished videos for a progress display.

    Questions about events follow the last frame of a video, in the mode `history`. The request to track follows the
    first frame, in the mode `track`. Every frame has ground truth for each, with its id, and the event or `track` as
    kind. Equal plans give equal messages. Raises InvalidInput if `path` exists and `force` is not set.
    """
    with bags.BagWriter(path, force) as bag:
        for number in range(plan.videos):
            video = film(world, plan.seed + number, plan.frames, plan.rate_hz)
            questions = video_questions(video, plan.questions, plan.phrasing)
            queries = [Query(q.text, f"{video.seed}-{i}", Mode.HISTORY) for i, (_, q) in enumerate(questions)]
            named = _named(video.scenes[0], questions[0][1].targets[0]) if plan.track and questions else None
            if named is not None:
                questions.append(("track", named))
                queries.append(Query(named.text, f"{video.seed}-track", Mode.TRACK))
            for frame, scene in enumerate(video.scenes):
                stamp_ns = START_NS + number * plan.period_ns + round(frame / plan.rate_hz * 1e9)
                write_scene(bag, scene, stamp_ns, plan.depth)
                for (kind, question), query in zip(questions, queries, strict=True):
                    bag.write(GROUND_TRUTH_TOPIC, ground_truth(scene, question, query, stamp_ns, kind), stamp_ns)
                for query in queries:
                    if frame == (0 if query.mode is Mode.TRACK else plan.frames - 1):
                        bag.write(QUERY_TOPIC, bags.query_message(query), stamp_ns + 1)
            yield number + 1


def video_questions(video: Video, count: int, phrasing: str) -> list[tuple[str, SceneQuestion]]:
    """Up to `count` questions about different events, each with the kind of its event. Unclear events are skipped."""
    rng = random.Random(video.seed)
    events = list(video.events)
    rng.shuffle(events)
    drawn = [(event.kind, ask_about(video, event, rng, phrasing)) for event in events]
    return [(kind, question) for kind, question in drawn if question is not None][:count]


def _named(scene: Scene, instance_id: int) -> SceneQuestion | None:
    """A question that names the object by colour and category; None if that is ambiguous or it is occluded."""
    (target,) = (item for item in scene.objects if item.instance_id == instance_id)
    alike = [item for item in scene.objects if (item.color, item.category) == (target.color, target.category)]
    if len(alike) > 1 or target.visible_share < 0.5:
        return None
    name = f"{target.color} {target.category}"
    return SceneQuestion("track", f"the {name}", (ThoughtPiece(f"it is the {name}.", (instance_id,)),), (instance_id,))
