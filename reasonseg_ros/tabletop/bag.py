"""Bags of simulated tabletop scenes: images, depth, calibration, questions and ground truth."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from reasonseg_ros import bags
from reasonseg_ros.bags.topics import (
    CAMERA_INFO_TOPIC,
    DEPTH_TOPIC,
    FRAME_ID,
    GROUND_TRUTH_TOPIC,
    IMAGE_TOPIC,
    QUERY_TOPIC,
    START_NS,
)
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.tabletop.questions.generation import generate, generate_part
from reasonseg_ros.tabletop.questions.question import KINDS, PART_KIND, UNKNOWN_KIND, SceneQuestion
from reasonseg_ros.tabletop.scene import Scene, SceneObject, ScenePart
from reasonseg_ros.tabletop.world import RESERVED_SEED, SEED_RANGES, World
from reasonseg_ros.types import Query

SCENE_PERIOD_NS = 2 * 10**9

DRAWS = 100
"""Maximum draws for a question with a clear answer. After that, the kind is skipped for the scene."""


@dataclass(frozen=True)
class BagPlan:
    """Scenes of the seeds `seed`, `seed + 1`, ..., with up to `questions` each. The kinds are balanced where possible.

    Raises InvalidInput for a value out of range, or an unknown kind.
    """

    seed: int
    scenes: int
    questions: int = 2
    kinds: tuple[str, ...] = KINDS
    phrasing: str = "train"
    depth: bool = True

    def __post_init__(self) -> None:
        if self.scenes < 1 or self.questions < 0:
            raise InvalidInput(f"{self.scenes} scenes with {self.questions} questions; expected 1 scene at least")
        if self.seed < 0 or self.seed + self.scenes > RESERVED_SEED:
            seeds = f"seeds {self.seed} to {self.seed + self.scenes - 1}"
            raise InvalidInput(f"{seeds}; expected 0 to {RESERVED_SEED - 1}, the others are reserved")
        every = (*KINDS, PART_KIND, UNKNOWN_KIND)
        unknown = set(self.kinds) - set(every)
        if unknown or not self.kinds:
            raise InvalidInput(f"kinds {sorted(unknown)}; expected some of {', '.join(every)}")


def write_bag(plan: BagPlan, world: World, path: Path, force: bool = False) -> Iterator[int]:
    """Write the bag, and yield the number of finished scenes for a progress display.

    Equal plans give equal messages. Raises InvalidInput if `path` exists and `force` is not set.
    """
    with bags.BagWriter(path, force) as bag:
        asked = Counter(dict.fromkeys(plan.kinds, 0))
        for number in range(plan.scenes):
            scene = world.scene(plan.seed + number)
            stamp_ns = START_NS + number * SCENE_PERIOD_NS
            write_scene(bag, scene, stamp_ns, plan.depth)
            # The least frequent kinds come first, for balance.
            kinds = sorted(plan.kinds, key=lambda kind: asked[kind])
            for index, question in enumerate(scene_questions(scene, plan.questions, kinds, plan.phrasing)):
                asked[question.kind] += 1
                query = Query(question.text, f"{scene.seed}-{index}")
                asked_ns = stamp_ns + (index + 1) * SCENE_PERIOD_NS // (plan.questions + 1)
                bag.write(QUERY_TOPIC, bags.query_message(query), asked_ns)
                bag.write(GROUND_TRUTH_TOPIC, ground_truth(scene, question, query, stamp_ns), asked_ns)
            yield number + 1


def scene_questions(scene: Scene, count: int, kinds: Sequence[str], phrasing: str) -> list[SceneQuestion]:
    """Up to `count` different questions with the `kinds` in turn. Kinds that the scene does not allow are skipped."""
    rng = random.Random(scene.seed)
    size_wh = scene.rgb.shape[1], scene.rgb.shape[0]
    questions: list[SceneQuestion] = []
    misses = 0
    while len(questions) < count and misses < len(kinds):
        kind = kinds[(len(questions) + misses) % len(kinds)]
        question = _draw(scene, rng, kind, phrasing, size_wh, {known.text for known in questions})
        if question is None:
            misses += 1
        else:
            questions.append(question)
    return questions


def _draw(
    scene: Scene, rng: random.Random, kind: str, phrasing: str, size_wh: tuple[int, int], known: set[str]
) -> SceneQuestion | None:
    for _ in range(DRAWS):
        if kind == PART_KIND:
            question = generate_part(scene.objects, scene.parts, rng, size_wh=size_wh)
        else:
            question = generate(scene.objects, rng, kind, phrasing, size_wh=size_wh)
        if question is not None and question.text not in known:
            return question
    return None


def write_scene(bag: bags.BagWriter, scene: Scene, stamp_ns: int, depth: bool) -> None:
    """Write image, camera_info and, if requested, depth."""
    size_wh = scene.rgb.shape[1], scene.rgb.shape[0]
    camera = bags.camera_info_message(scene.intrinsics, size_wh, stamp_ns, FRAME_ID)
    bag.write(IMAGE_TOPIC, bags.image_message(scene.rgb, stamp_ns, FRAME_ID), stamp_ns)
    bag.write(CAMERA_INFO_TOPIC, camera, stamp_ns)
    if depth:
        bag.write(DEPTH_TOPIC, bags.depth_message(scene.depth_m, stamp_ns, FRAME_ID), stamp_ns)


def ground_truth(scene: Scene, question: SceneQuestion, query: Query, stamp_ns: int, kind: str = "") -> object:
    """The GroundTruth message of a question in this scene. An empty `kind` takes the question's.

    Targets that are not visible, for example in some frames of a video, are omitted.
    """
    split = next((name for name, seeds in SEED_RANGES.items() if scene.seed in seeds), "")
    targets = [_target(scene, instance_id, question.part) for instance_id in question.targets]
    targets = [target for target in targets if target.area_px]
    return bags.ground_truth_message(
        query,
        scene.mask(question.targets, question.part),
        stamp_ns,
        FRAME_ID,
        kind=kind or question.kind,
        thought=question.thought_text,
        split=split,
        is_sentence=question.text.endswith("?"),
        boxes_xyxy=[target.box_xyxy for target in targets],
        points_xy=[target.point_xy for target in targets],
        boxes_3d=[scene.box_in_camera(target) for target in targets],
    )


def _target(scene: Scene, instance_id: int, part: str) -> SceneObject | ScenePart:
    if part:
        return next(p for p in scene.parts if p.instance_id == instance_id and p.name == part)
    return next(o for o in scene.objects if o.instance_id == instance_id)
