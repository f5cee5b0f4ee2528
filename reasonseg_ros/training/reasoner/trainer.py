"""The training step of the embedded reasoner, with its model, optimizers, losses and checkpoint.

The optimizer of matrices is Muon (K. Jordan et al., 2024, "Muon: An optimizer for hidden layers in neural networks").
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.tabletop.questions.corpus import corpus
from reasonseg_ros.torch_device import computes_bfloat16
from reasonseg_ros.training.reasoner.batches import Batches, SceneBatch, VideoBatch, VideoKey
from reasonseg_ros.training.reasoner.examples import ExampleEncoder
from reasonseg_ros.training.reasoner.forward import PackedForward
from reasonseg_ros.training.reasoner.losses import (
    EVENT_LAYERS,
    IMAGE_LAYERS,
    VIDEO_BOX_WEIGHT,
    Heads,
    answer_loss,
    dense_loss,
    event_loss,
    layer_loss,
    look_loss,
    writing,
)
from reasonseg_ros.training.reasoner.model import build_model, number_ids, save_published
from reasonseg_ros.training.reasoner.plan import ReasonerPlan
from reasonseg_ros.training.reasoner.tokenizer import PAD, build_tokenizer
from reasonseg_ros.training.reasoner.video_examples import VideoEncoder
from reasonseg_ros.training.rendered.scenes import SceneFiles
from reasonseg_ros.training.rendered.videos import FRAMES, VideoFiles

CHECKPOINT = "reasoner.pt"
_WARM_UP_STEPS = {"dense": 50, "questions": 20}
_NUMBER_SPREAD_PX = (1.5, 0.8)
"""Spread of a pixel number's soft target, at the full and at the final learning rate."""


class Trainer:
    """The state of training in one process: model, optimizers, running average of the weights, and time spent."""

    def __init__(self, plan: ReasonerPlan, process: int) -> None:
        torch.manual_seed(plan.seed)
        self.plan, self.process = plan, process
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.has_bfloat16 = computes_bfloat16(self.device)
        self.tokenizer = build_tokenizer(corpus())
        encoder = ExampleEncoder(self.tokenizer, plan.thoughts)
        self.files = SceneFiles(plan.scenes)
        self.videos = VideoFiles(plan.videos) if plan.videos else None
        video_encoder = VideoEncoder(encoder, FRAMES)
        pad = self.tokenizer.convert_tokens_to_ids(PAD)
        self.batches = Batches(
            self.files, encoder, pad, plan.batch, plan.seed, self.videos, video_encoder, plan.phrasing
        )
        self.model = build_model(self.tokenizer)
        config = self.model.config
        self.heads = Heads(config.vision_config.hidden_size, config.text_config.hidden_size).to(self.device)
        self.forward = PackedForward(self.model, encoder.prefix).to(self.device)
        self.video_forward = PackedForward(self.model, video_encoder.prefix).to(self.device)
        self.numbers = number_ids(self.tokenizer).to(self.device)
        self.parameters = [*self.model.parameters(), *self.heads.parameters()]
        # The merger's large square matrix would cost Muon as much as a text layer.
        matrices = [
            p
            for name, p in self.model.named_parameters()
            if p.ndim == 2 and "embed" not in name and "merger" not in name
        ]
        others = [p for p in self.parameters if all(p is not m for m in matrices)]
        self.optimizers = (
            torch.optim.Muon(matrices, lr=plan.matrix_rate, weight_decay=0.02),
            torch.optim.AdamW(others, lr=plan.rate, weight_decay=0.0, betas=(0.9, 0.98)),
        )
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.step = self.question_steps = 0
        self.spent_s = 0.0
        self.report: dict[str, float] = {}
        self.seen: dict[VideoKey, Tensor] = {}
        self.with_heads = plan.start is None or not plan.start.is_dir()
        if not self.with_heads and plan.dense_share:
            raise InvalidInput(f"{plan.start} has no training heads for a dense stage; set its share to 0")
        if self.checkpoint.exists():
            self.restore()
        elif plan.start:
            self.begin_with(plan.start)

    @property
    def checkpoint(self) -> Path:
        return self.plan.work / CHECKPOINT

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "question_steps": self.question_steps,
            "spent_s": self.spent_s,
        }
        self.plan.work.mkdir(parents=True, exist_ok=True)
        with whole_file(self.checkpoint, "wb") as file:
            torch.save(state, file)

    def restore(self) -> None:
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.average = state["average"]
        self.step, self.question_steps = state["step"], state["question_steps"]
        self.spent_s = state["spent_s"]

    def begin_with(self, path: Path) -> None:
        """Start from the averaged weights of an earlier run or checkpoint. Optimizers and time start anew."""
        if path.is_dir():
            self.model.load_state_dict(type(self.model).from_pretrained(path, dtype=torch.float32).state_dict())
            self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        weights = state["model"] | state["average"]
        self.model.load_state_dict(weights | {"lm_head.weight": _embeddings(state["average"])})
        # A run without videos has no head for their events.
        self.heads.load_state_dict(state["heads"], strict=False)
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}

    def export(self) -> None:
        """Write the averaged weights in the published layout."""
        state = {**self.model.state_dict(), **self.average}
        state.pop("lm_head.weight", None)  # tied to the embeddings
        save_published(self.plan.out, self.model, self.tokenizer, state)

    @property
    def progress(self) -> float:
        """Spent share of the budget."""
        return self.step / self.plan.steps if self.plan.steps else self.spent_s / (self.plan.minutes * 60)

    @property
    def rate(self) -> float:
        """Current factor of the learning rates, 0 to 1."""
        stage, steps = ("questions", self.question_steps) if self.question_steps else ("dense", self.step)
        warm = min(1.0, (steps + 1) / _WARM_UP_STEPS[stage])
        return warm * min(1.0, max(0.02, (1 - self.progress) / self.plan.decay_share))

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.has_bfloat16)

    def loss(self, batch: SceneBatch, with_texts: bool) -> tuple[Tensor, dict[str, Tensor]]:
        with self._autocast():
            with torch.set_grad_enabled(not self.plan.keep_vision):
                patch_states, image_tokens = self.forward.see(batch.images)
            if not with_texts:
                layer_states = self.forward.read_image(image_tokens, IMAGE_LAYERS)
                return dense_loss(self.heads, patch_states, image_tokens, layer_states, batch.dense)
            texts = batch.texts
            assert texts
            states, layer_states, attention = self.forward.read(
                image_tokens, texts.tokens, texts.position, texts.question, (IMAGE_LAYERS,)
            )
            writes = writing(texts.follows)
            scores = self._scores(states[writes])
            dense, report = patch_states.new_zeros(()), dict[str, Tensor]()
            if self.with_heads:
                dense, report = dense_loss(self.heads, patch_states, image_tokens, layer_states[0], batch.dense)
        start, end = _NUMBER_SPREAD_PX
        spread_px = end + (start - end) * min(1.0, (1 - self.progress) / self.plan.decay_share)
        answer, answer_report = answer_loss(scores, texts.follows[writes], self.numbers, max(spread_px, end))
        look, look_report = look_loss([a[writes] for a in attention], texts.looks[writes])
        return dense + answer + look, report | answer_report | look_report

    def video_loss(self, batch: VideoBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss on videos. The vision model is not trained here, which saves a third of the time."""
        frames, texts = batch.frames, batch.frames.texts
        assert texts
        with self._autocast():
            rows = self._video_tokens(batch)
            states, (layer_states, event_states), attention = self.video_forward.read(
                rows, texts.tokens, texts.position, texts.question, (IMAGE_LAYERS, EVENT_LAYERS)
            )
            writes = writing(texts.follows)
            scores = self._scores(states[writes])
            heads, report = states.new_zeros(()), dict[str, Tensor]()
            if self.with_heads:
                layer_states = layer_states.reshape(*frames.dense.category.shape, -1)
                layer, report = layer_loss(self.heads, layer_states, frames.dense, VIDEO_BOX_WEIGHT)
                event, event_report = event_loss(self.heads, event_states, batch.happened)
                heads, report = layer + event, report | event_report
        # Answers about videos have no pixel numbers, so the spread has no effect.
        answer, answer_report = answer_loss(scores, texts.follows[writes], self.numbers, 1.0)
        look, look_report = look_loss([a[writes] for a in attention], texts.looks[writes])
        report |= answer_report | look_report
        return heads + answer + look, {f"video_{name}": value for name, value in report.items()}

    def _video_tokens(self, batch: VideoBatch) -> Tensor:
        """Concatenated image tokens of each video's frames. [videos, frames * IMAGE_TOKENS, width]."""
        fresh = [key for key in batch.keys if key not in self.seen]
        known = self.seen if self.plan.keep_vision else {}
        if fresh:
            with torch.no_grad():
                _, image_tokens = self.forward.see(batch.frames.images)
            known.update(zip(fresh, image_tokens.view(len(fresh), -1, image_tokens.shape[-1]), strict=True))
        return torch.stack([known[key] for key in batch.keys])

    def _scores(self, states: Tensor) -> Tensor:
        """Scores of the vocabulary for states [N, width].

        Padded to a few lengths, because a kernel is compiled and cached for each length, which would fill the memory.
        """
        count = len(states)
        return self.model.lm_head(F.pad(states, (0, 0, 0, -count % 512)))[:count]

    def advance(self) -> None:
        """One step of all processes together."""
        with_texts = self.question_steps > 0 or self.progress >= self.plan.dense_share
        batch = self.batches.draw(self.step, self.process, with_texts).to(self.device)
        loss, report = self.loss(batch, with_texts)
        loss.backward()
        if self.videos and with_texts:
            videos = self.batches.draw_videos(self.step, self.process, self.plan.video_batch, self.seen)
            videos = videos.to(self.device)
            loss, video_report = self.video_loss(videos)
            loss.backward()
            report |= video_report
        if dist.is_initialized():
            _average_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer, base in zip(self.optimizers, (self.plan.matrix_rate, self.plan.rate), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = base * self.rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.question_steps += with_texts
        weight = 1 - min(self.plan.averaging, self.step / (self.step + 9))
        torch._foreach_lerp_(list(self.average.values()), [p.data for p in self.model.parameters()], weight)
        for name, value in report.items():
            latest = value.item()
            self.report[name] = 0.95 * self.report.get(name, latest) + 0.05 * latest


def _embeddings(state: dict[str, Tensor]) -> Tensor:
    """The weights of the embeddings, which are also those of the head."""
    return next(value for name, value in state.items() if name.endswith("embed_tokens.weight"))


def _average_gradients(parameters: list[nn.Parameter]) -> None:
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
