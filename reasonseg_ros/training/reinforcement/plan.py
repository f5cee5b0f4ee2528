"""The settings of a run of `reasonseg train grpo`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.training.reinforcement.rewards import REWARDS

ENGINES = ("embedded", "trl")


@dataclass(frozen=True)
class GrpoPlan:
    """A training run.

    Attributes:
        model: folder of the first checkpoint; it is also the reference of the KL divergence.
        rows: folder of training rows.
        dev_rows: folder of rows for the accuracy on the way; None measures none.
        out: the run's folder.
        steps: in all, resumed runs included.
        prompts: questions a step; `group` answers are sampled to each.
        iterations: updates on the answers of a step; with one, no ratio leaves 1 and nothing is clipped.
        averaging: of the weights that are exported (engine `embedded`).
        engine: `embedded` is a lean loop for the tiny model, `trl` trains published checkpoints.
        lora_rank: of adapters on the text model, merged at the end; 0 trains all weights (engine `trl`).
    """

    model: Path
    rows: Path
    out: Path
    dev_rows: Path | None = None
    reward: str = "vision_reasoner"
    steps: int = 100
    prompts: int = 16
    group: int = 8
    rate: float = 1e-4
    kl_weight: float = 5e-3
    clip: float = 0.2
    temperature: float = 1.0
    weight_decay: float = 0.01
    iterations: int = 1
    averaging: float = 0.98
    seed: int = 0
    save_every: int = 10
    measure_every: int = 20
    measured: int = 100
    threads: int = 1
    engine: str = "embedded"
    lora_rank: int = 0

    def __post_init__(self) -> None:
        if self.reward not in REWARDS:
            raise InvalidInput(f"reward {self.reward!r}; expected one of {', '.join(REWARDS)}")
        if self.group < 2:
            raise InvalidInput(f"group of {self.group}; advantages need at least 2 answers to a question")
        counts = ("steps", "prompts", "iterations", "save_every", "measure_every", "measured", "threads")
        for name in counts:
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} is {getattr(self, name)}; expected at least 1")
        if not 0 < self.clip < 1 or self.rate <= 0 or self.temperature <= 0 or self.kl_weight < 0:
            raise InvalidInput(
                f"clip {self.clip}, rate {self.rate}, temperature {self.temperature}, KL weight {self.kl_weight}; "
                "expected a clip between 0 and 1, a rate and temperature above 0, a KL weight of at least 0"
            )
        if self.engine not in ENGINES:
            raise InvalidInput(f"engine {self.engine!r}; expected one of {', '.join(ENGINES)}")
        if self.lora_rank < 0 or (self.lora_rank and self.engine != "trl"):
            raise InvalidInput(f"LoRA of rank {self.lora_rank} with the engine {self.engine}; only trl has adapters")
        if self.engine == "trl" and self.dev_rows:
            raise InvalidInput("the engine trl measures nothing on the way; leave out --dev-rows, and evaluate a bag")
