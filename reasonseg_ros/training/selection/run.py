"""Training of the selection: collects thoughts and proposals, trains the fusion module, and exports it.

    reasonseg train selection --scenes DIR --validation DIR --work DIR --out models/tabletop/selection

All data and state are in the work folder, so the same command continues a stopped run.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reasonseg_ros.config.models import ReasonerConfig, SegmenterConfig
from reasonseg_ros.engine.manifest import file_sha256
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.export.graphs import write_module
from reasonseg_ros.export.points import store_half
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.reasoner.abilities import Ability
from reasonseg_ros.reasoner.loading import load_reasoner
from reasonseg_ros.segmenter.loading import load_segmenter
from reasonseg_ros.selection.card import GRAPH, SelectionCard, write_selection_card
from reasonseg_ros.selection.digests import model_digests
from reasonseg_ros.training.continuing import begin_or_continue
from reasonseg_ros.training.rendered.scenes import SceneFiles, StoredScene
from reasonseg_ros.training.selection.examples import SelectionExample, collect_selection, read_selection_examples
from reasonseg_ros.training.selection.model import ExportedFusion, Fusion, FusionSizes, selection_loss
from reasonseg_ros.training.selection.validation import best_rule, selection_scores

STAGES = ("thoughts", "masks", "train")
CHECKPOINT_STEPS, REPORT_STEPS = 100, 100
MAY_CHANGE = ("work", "out", "until", "threads")
"""Settings that another part of the same training may change."""
NOISE = 0.1
POOL = 8


@dataclass(frozen=True)
class SelectionPlan:
    """Settings of one training.

    Attributes:
        scenes, validation: folders of `reasonseg train scenes`; the rule is chosen on the second.
        work: folder of the collected data and of the state to resume from.
        out: folder of the trained selection.
        grid_wh: points of everything mode. Another grid needs another `work`.
        until: the last of STAGES to run.

    Raises InvalidInput for a value out of range.
    """

    scenes: Path
    validation: Path
    work: Path
    out: Path
    reasoner: str = "tabletop-reasoner"
    segmenter: str = "tabletop-segmenter"
    until: str = "train"
    grid_wh: tuple[int, int] = (12, 9)
    steps: int = 6000
    batch: int = 32
    width: int = 128
    rate: float = 1e-3
    weight_decay: float = 0.05
    seed: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        if self.until not in STAGES:
            raise InvalidInput(f"until = {self.until!r}; expected one of {', '.join(STAGES)}")
        if min(self.steps, self.batch, self.threads) < 1:
            raise InvalidInput("steps, batch and threads; expected 1 or more")
        if self.width < 4 or self.width % 4:
            raise InvalidInput(f"width = {self.width}; expected a multiple of 4, which is the number of heads")


def train_selection(plan: SelectionPlan) -> None:
    """Run the stages up to `plan.until`. Raises InvalidInput and ModelError."""
    torch.set_num_threads(plan.threads)
    folders = {"train": SceneFiles(plan.scenes), "validation": SceneFiles(plan.validation)}
    last = "thoughts" if plan.until == "thoughts" else "masks"
    missing = {
        name: [files[i] for i in range(len(files)) if not (plan.work / name / last / f"{files[i].seed}.npz").exists()]
        for name, files in folders.items()
    }
    if any(missing.values()):
        _collect(plan, missing)
    if plan.until != "train":
        return
    examples = list(read_selection_examples(plan.work / "train"))
    held_out = list(read_selection_examples(plan.work / "validation"))
    if not examples or not held_out:
        raise InvalidInput(f"{len(examples)} questions to learn from and {len(held_out)} for validation; render more")
    fusion = train_fusion(plan, examples)
    scores = selection_scores(fusion, held_out)
    rule, by_selection = best_rule(held_out, scores)
    print(", ".join(f"{name} {value:.3f}" for name, value in by_selection.items()), f"on {len(held_out)} questions")
    print(f"chosen: {rule}")
    source = f"{len(examples)} questions on {len({one.seed for one in examples})} scenes, the rule on {len(held_out)}"
    digests = model_digests(plan.reasoner, plan.segmenter)
    card = SelectionCard(
        graph_sha256="",  # set when the graph is written
        reasoner_sha256=digests["reasoner_sha256"],
        segmenter_sha256=digests["segmenter_sha256"],
        points_sha256=digests["points_sha256"],
        grid_wh=plan.grid_wh,
        mask_features=fusion.sizes.mask_features,
        state_width=fusion.sizes.state_width,
        rule=rule,
        source=source,
    )
    publish_selection(fusion, card, plan.out)


def _collect(plan: SelectionPlan, missing: Mapping[str, Sequence[StoredScene]]) -> None:
    reasoner = load_reasoner(ReasonerConfig(model=plan.reasoner, backend="onnxruntime", threads=plan.threads))
    if Ability.ATTENTION not in reasoner.abilities:
        raise InvalidInput(f"{plan.reasoner} gives no attention; export it again with `reasonseg export reasoner`")
    segmenter = None
    if plan.until != "thoughts":
        exported = SegmenterConfig(model=plan.segmenter, backend="onnxruntime", device="cpu", threads=plan.threads)
        segmenter = load_segmenter(exported)
    for name, scenes in missing.items():
        collect_selection(scenes, reasoner, segmenter, "train", plan.work / name, plan.grid_wh)


def train_fusion(plan: SelectionPlan, examples: Sequence[SelectionExample]) -> Fusion:
    """Train to the end, continuing from `plan.work`. A batch depends only on the seed and the step."""
    torch.manual_seed(plan.seed)
    fusion = Fusion(FusionSizes(examples[0].masks.shape[1], len(examples[0].state), plan.width, hidden=2 * plan.width))
    every = np.concatenate([one.masks for one in {one.seed: one for one in examples}.values()])
    fusion.mean.copy_(torch.from_numpy(every.mean(0)))
    fusion.spread.copy_(torch.from_numpy(every.std(0) + 1e-3))
    optimizer = torch.optim.AdamW(fusion.parameters(), lr=plan.rate, weight_decay=plan.weight_decay)
    state_path, step, begun_s = plan.work / "state.pt", 0, time.monotonic()
    settings = {**asdict(plan), "sizes": asdict(fusion.sizes), "examples": len(examples)}
    begin_or_continue(plan.work, "selection", settings, state_path.exists(), MAY_CHANGE)
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        fusion.load_state_dict(state["fusion"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]
    counts = np.array([len(one.masks) for one in examples])
    recent: list[tuple[float, float]] = []
    while step < plan.steps:
        torch.manual_seed(plan.seed * 1_000_003 + step)
        masks, states, hidden, iou, iop = batch_of([examples[i] for i in drawn(counts, plan, step)])
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / plan.steps)))
        logits, similarity = fusion.train()(masks, states, hidden, NOISE)
        divergence, regression = selection_loss(logits, similarity, hidden, iou, iop)
        optimizer.zero_grad()
        (divergence + regression).backward()
        torch.nn.utils.clip_grad_norm_(fusion.parameters(), 1.0)
        optimizer.step()
        step += 1
        recent.append((divergence.item(), regression.item()))
        if step % REPORT_STEPS == 0:
            kl, iop_loss = np.mean(recent[-REPORT_STEPS:], 0)
            print(f"{step}/{plan.steps} KL {kl:.3f} IoP {iop_loss:.3f} {time.monotonic() - begun_s:.0f} s", flush=True)
        if step % CHECKPOINT_STEPS == 0 or step == plan.steps:
            state = {"step": step, "fusion": fusion.state_dict(), "optimizer": optimizer.state_dict()}
            with whole_file(state_path, "wb") as file:
                torch.save(state, file)
    return fusion.eval()


def drawn(counts: NDArray[np.int64], plan: SelectionPlan, step: int) -> NDArray[np.int64]:
    """Indices of a step's examples. POOL batches are drawn together, sorted by `counts` of masks to pad less."""
    rng = np.random.default_rng([plan.seed, step // POOL])
    pool = rng.integers(len(counts), size=POOL * plan.batch)
    batches = pool[np.argsort(counts[pool], kind="stable")].reshape(POOL, plan.batch)
    found: NDArray[np.int64] = rng.permutation(batches)[step % POOL]
    return found


def batch_of(examples: Sequence[SelectionExample]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """masks [B, K, F], states [B, 1, D], hidden (padding) [B, K], IoU and IoP [B, K] of examples, padded to one K."""
    most, first = max(len(one.masks) for one in examples), examples[0]
    masks = np.zeros((len(examples), most, first.masks.shape[1]), np.float32)
    hidden = np.ones((len(examples), most), bool)
    iou, iop = np.zeros((len(examples), most), np.float32), np.zeros((len(examples), most), np.float32)
    for row, one in enumerate(examples):
        count = len(one.masks)
        masks[row, :count], hidden[row, :count] = one.masks, False
        iou[row, :count], iop[row, :count] = one.iou, one.iop
    states = np.stack([one.state for one in examples])[:, None]
    found = tuple(torch.from_numpy(values) for values in (masks, states, hidden, iou, iop))
    return found[0], found[1], found[2], found[3], found[4]


def publish_selection(fusion: Fusion, card: SelectionCard, out: Path) -> None:
    """Write the graph with float16 weights, and its card."""
    out.mkdir(parents=True, exist_ok=True)
    sizes = fusion.sizes
    masks, states = torch.export.Dim("K"), torch.export.Dim("T")
    inputs = {
        "masks": (torch.zeros(3, sizes.mask_features), {0: masks}),
        "states": (torch.zeros(2, sizes.state_width), {0: states}),
    }
    unfinished = out / f".{GRAPH}"
    write_module(ExportedFusion(fusion.eval()), inputs, ("iop", "similarity"), unfinished)
    store_half(unfinished)
    os.replace(unfinished, out / GRAPH)
    write_selection_card(replace(card, graph_sha256=file_sha256(out / GRAPH)), out)
    print(f"{out} written")
