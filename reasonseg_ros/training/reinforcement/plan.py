"""The settings of a training run on rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.training.reinforcement.rewards import REWARDS
from reasonseg_ros.training.reinforcement.video_rewards import VIDEO_REWARDS

ENGINES = ("embedded", "trl")
_EMBEDDED_ONLY = ("averaging", "measure_every", "measured", "threads")
"""Settings that TRL's trainers do not have."""
MAY_CHANGE = ("steps", "cpu_s", "out", "threads", "save_every")
"""Settings of a plan that another part of the same run may change."""


@dataclass(frozen=True)
class RunPlan:
    """A supervised training run on rows, and the base of other runs.

    Attributes:
        model: folder of the initial checkpoint.
        rows: folder of training rows.
        dev_rows: folder of rows for the accuracy during training; None for no measurement.
        out: folder of the run.
        steps: total steps, resumed runs included.
        cpu_s: ends earlier after this much CPU time of steps, resumed runs included; 0 sets no limit. It makes runs of
            different methods comparable (engine `embedded`).
        prompts: questions per step.
        averaging: decay of the running average of the exported weights (engine `embedded`).
        engine: `embedded` is a small loop for the embedded model, `trl` trains published checkpoints.
        lora_rank: rank of adapters on the text model, merged at the end; 0 trains all weights (engine `trl`).

    Raises InvalidInput for a value out of range, or that the engine does not support.
    """

    model: Path
    rows: Path
    out: Path
    dev_rows: Path | None = None
    steps: int = 100
    cpu_s: float = 0.0
    prompts: int = 16
    rate: float = 1e-4
    weight_decay: float = 0.01
    averaging: float = 0.98
    seed: int = 0
    save_every: int = 10
    measure_every: int = 20
    measured: int = 100
    threads: int = 1
    engine: str = "embedded"
    lora_rank: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "prompts", "save_every", "measure_every", "measured", "threads"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.rate <= 0 or self.cpu_s < 0:
            raise InvalidInput(f"rate {self.rate}, cpu_s {self.cpu_s}; expected a rate above 0 and no negative time")
        if self.engine not in ENGINES:
            raise InvalidInput(f"engine {self.engine!r}; expected one of {', '.join(ENGINES)}")
        if self.lora_rank < 0 or (self.lora_rank and self.engine != "trl"):
            raise InvalidInput(f"LoRA of rank {self.lora_rank} with the engine {self.engine}; only trl has adapters")
        if self.engine == "trl" and (self.dev_rows or self.cpu_s):
            raise InvalidInput(
                "the engine trl does not measure during training and counts steps only; leave out --dev-rows and "
                "--cpu-s, and evaluate a bag"
            )
        for name in _EMBEDDED_ONLY:
            if self.engine == "trl" and getattr(self, name) != RunPlan.__dataclass_fields__[name].default:
                raise InvalidInput(f"--{name.replace('_', '-')} has no effect with the engine trl; leave it out")


@dataclass(frozen=True)
class GrpoPlan(RunPlan):
    """A run of `reasonseg train grpo`. `model` is also the reference of the KL divergence.

    Attributes:
        reward: one of REWARDS for rows about images, or of VIDEO_REWARDS for rows about videos.
        group: sampled answers per question.
        iterations: updates on the answers of a step. With one, all ratios are 1 and nothing is clipped.
        vllm_memory: share of each GPU's memory for generation with vLLM in the trainer's process; 0 generates with
            transformers (engine `trl`).
    """

    reward: str = "vision_reasoner"
    group: int = 8
    kl_weight: float = 5e-3
    clip: float = 0.2
    temperature: float = 1.0
    iterations: int = 1
    vllm_memory: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reward not in (*REWARDS, *VIDEO_REWARDS):
            raise InvalidInput(f"reward {self.reward!r}; expected one of {', '.join((*REWARDS, *VIDEO_REWARDS))}")
        if self.reward in VIDEO_REWARDS and self.engine == "trl":
            raise InvalidInput(f"the reward {self.reward} scores two rounds; only the engine embedded asks two")
        if self.group < 2:
            raise InvalidInput(f"group of {self.group}; advantages need at least 2 answers to a question")
        if self.iterations < 1:
            raise InvalidInput(f"iterations is {self.iterations}; expected at least 1")
        if not 0 < self.clip < 1 or self.temperature <= 0 or self.kl_weight < 0:
            raise InvalidInput(
                f"clip {self.clip}, temperature {self.temperature}, KL weight {self.kl_weight}; "
                "expected a clip between 0 and 1, a temperature above 0, a KL weight of at least 0"
            )
        if not 0 <= self.vllm_memory < 1 or (self.vllm_memory and self.engine != "trl"):
            raise InvalidInput(
                f"vLLM's share of the memory is {self.vllm_memory}, the engine {self.engine}; expected 0 to 1, and trl"
            )
