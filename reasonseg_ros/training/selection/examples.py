"""Training examples of the selection: thoughts about rendered scenes, and the masks that everything mode proposes.

Each scene has two files in the work folder. Existing files are not written again, so a stopped collection continues:

    thoughts/SEED.npz   the questions with their targets; each thought's last hidden state and maps of its attention
    masks/SEED.npz      vectors and low-resolution masks of the proposals, and the objects at the same resolution
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.reasoner.port import Reasoner
from reasonseg_ros.segmenter.everything import Everything
from reasonseg_ros.segmenter.port import Segmenter
from reasonseg_ros.selection.embeddings import attended, attention_maps, embed_masks
from reasonseg_ros.tabletop.questions.question import KINDS, SceneQuestion
from reasonseg_ros.training.reasoner.examples import draw_question
from reasonseg_ros.training.reasoner.images import SceneView, view
from reasonseg_ros.training.rendered.scenes import StoredScene
from reasonseg_ros.types import Answer, BoolMask, FloatArray, Frame

KIND_COUNTS = {
    "function": 2, "attribute": 1, "relation": 2, "comparison": 2, "multi_step": 3, "several": 2, "none": 2
}  # fmt: skip
"""Maximum questions of each kind per scene: 14 in total. A scene may not allow all of them."""
_DRAWS = 6


@dataclass(frozen=True, eq=False)
class SelectionExample:
    """One question with the proposals of its scene.

    Attributes:
        masks: vectors of the proposals for this question, float32 [K, F].
        state: last hidden state of the thought, float32 [D].
        iou, iop: IoU and IoP of each proposal with the union of the targets, float32 [K].
        low_res: the proposals, bool [K, h, w].
        truth: union of the targets, bool [h, w].
    """

    seed: int
    kind: str
    text: str
    masks: FloatArray
    state: FloatArray
    iou: FloatArray
    iop: FloatArray
    low_res: BoolMask
    truth: BoolMask


def selection_questions(scene: SceneView, seed: int, phrasing: str) -> list[SceneQuestion]:
    """Different questions about a scene, up to KIND_COUNTS of each kind."""
    rng = random.Random(seed)
    drawn: dict[str, SceneQuestion] = {}
    for kind in KINDS:
        for _ in range(KIND_COUNTS[kind]):
            for _ in range(_DRAWS):
                question = draw_question(scene, rng, phrasing, kind)
                if question is not None and question.text not in drawn:
                    drawn[question.text] = question
                    break
    return list(drawn.values())


def think_about(scene: StoredScene, reasoner: Reasoner, phrasing: str, path: Path) -> None:
    """Write the thoughts about a scene, unless the file exists. Failed thoughts are left out."""
    if path.exists():
        return
    shown = view(scene)
    frame = Frame(np.ascontiguousarray(shown.rgb))
    questions, states, looks, tokens = [], [], [], np.zeros((0, 0, 0), np.float32)
    for question in selection_questions(shown, scene.seed, phrasing):
        thought = reasoner.think(frame, question.text)
        if isinstance(thought, Answer):
            continue
        questions.append(question)
        states.append(thought.states[-1])
        looks.append(attention_maps(thought.attention))
        tokens = thought.image_features
    with whole_file(path, "wb") as file:
        np.savez(
            file,
            states=np.array(states, np.float32),
            attention=np.array(looks, np.float32),
            image_features=tokens,
            kinds=np.array([question.kind for question in questions], np.str_),
            texts=np.array([question.text for question in questions], np.str_),
            targets=np.array([" ".join(map(str, question.targets)) for question in questions], np.str_),
        )


def propose_in(scene: StoredScene, segmenter: Segmenter, everything: Everything, path: Path) -> None:
    """Write the proposals in a scene, unless the file exists. Its file of thoughts must exist."""
    if path.exists():
        return
    with np.load(path.parents[1] / "thoughts" / path.name) as thoughts:
        image_features = thoughts["image_features"]
    rgb = np.ascontiguousarray(scene.rgb)
    features = segmenter.encode(rgb)
    proposals = everything.propose(features)
    masks = np.zeros((0, 0), np.float32)
    if len(proposals) and image_features.size:
        masks = embed_masks(proposals, segmenter.feature_map(features), image_features, rgb)
    ids = np.array([item.instance_id for item in scene.objects], np.int64)
    objects = low_res_objects(scene.instance_ids, ids, proposals.logits.shape[1:])
    with whole_file(path, "wb") as file:
        np.savez(
            file, masks=masks, ids=ids, low_res=np.packbits(proposals.low_res, -1), objects=np.packbits(objects, -1)
        )


def low_res_objects(instance_ids: NDArray[np.uint8], ids: NDArray[np.int64], size_hw: tuple[int, ...]) -> BoolMask:
    """The visible part of each object at the proposals' resolution, bool [objects, h, w]."""
    height, width = size_hw
    shares = [
        cv2.resize((instance_ids == index).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        for index in ids
    ]
    return np.array(shares, np.float32).reshape(len(ids), height, width) > 0.5


def collect_selection(
    scenes: Sequence[StoredScene],
    reasoner: Reasoner,
    segmenter: Segmenter | None,
    phrasing: str,
    work: Path,
    grid_wh: tuple[int, int] | None = None,
) -> None:
    """Write the files of all scenes, without a segmenter only the thoughts. Prints the progress."""
    everything = Everything(segmenter, grid_wh=grid_wh) if segmenter is not None else None
    for name in ("thoughts", "masks"):
        (work / name).mkdir(parents=True, exist_ok=True)
    begun_s = time.monotonic()
    for done, scene in enumerate(scenes, 1):
        think_about(scene, reasoner, phrasing, work / "thoughts" / f"{scene.seed}.npz")
        if segmenter is not None and everything is not None:
            propose_in(scene, segmenter, everything, work / "masks" / f"{scene.seed}.npz")
        if done % 50 == 0 or done == len(scenes):
            print(f"{work}: {done} of {len(scenes)} scenes, {time.monotonic() - begun_s:.0f} s", flush=True)


def read_selection_examples(work: Path) -> Iterator[SelectionExample]:
    """The questions of all scenes with both files in a work folder, in the order of their seeds."""
    for path in sorted((work / "masks").glob("*.npz"), key=lambda path: int(path.stem)):
        with np.load(path) as proposed, np.load(work / "thoughts" / path.name) as thoughts:
            masks = proposed["masks"]
            low_res, objects = (np.unpackbits(proposed[name], -1).astype(bool) for name in ("low_res", "objects"))
            columns = {int(index): column for column, index in enumerate(proposed["ids"])}
            if not masks.size:
                continue
            names = ("kinds", "texts", "targets", "states", "attention")
            for kind, text, named, state, maps in zip(*(thoughts[name] for name in names), strict=True):
                truth = np.logical_or.reduce(objects[[columns[int(target)] for target in str(named).split()]], axis=0)
                both, areas = (low_res & truth).sum((1, 2)), low_res.sum((1, 2))
                iou = (both / np.maximum(areas + truth.sum() - both, 1)).astype(np.float32)
                iop = (both / np.maximum(areas, 1)).astype(np.float32)
                vectors = np.concatenate([masks, attended(low_res, maps)], 1)
                yield SelectionExample(
                    int(path.stem), str(kind), str(text), vectors, state, iou, iop, low_res, truth
                )  # fmt: skip
