"""The groups of rows and their sizes, in a separate module because each runs in a separate process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from benchmarks.results import ROOT, Row

CACHE = ROOT / "build" / "benchmarks"


@dataclass(frozen=True)
class Sizes:
    """How much of each group is run."""

    repetitions: int = 5
    questions: int = 0
    answers: int = 30
    starts: int = 7
    samples: int = 200
    evaluations: int = 2
    frames: int = 10_000
    asked: int = 1000
    memory_s: float = 400.0
    videos: int = 4


NEED_A_GPU = (
    "encoder and decoder of every SAM2.1 size: TensorRT fp16, ONNX Runtime CUDA, torch eager bf16",
    "reasoners of the shape of Qwen2.5-VL 3B and 7B: prompt and tokens a second, share of the memory bandwidth",
    "question to masks with these reasoners, and the GPU memory of each",
)
QUICK = Sizes(2, 2, 5, 1, 6, 1, 300, 10, 60.0, 1)
"""Sizes to see that everything works. The figures mean little."""


def cpu_groups(sizes: Sizes) -> dict[str, Callable[[], Iterator[Row]]]:
    """The groups by their names for `--rows`. Each group imports the libraries that it needs."""

    def segmenter() -> Iterator[Row]:
        from benchmarks.table.segmenter_rows import rows

        return rows(CACHE, sizes.repetitions)

    def set_up() -> Iterator[Row]:
        from benchmarks.table.set_up_rows import rows

        return rows(CACHE / "clone")

    return {"segmenter": segmenter, **shared_groups(sizes, "cpu"), "set-up": set_up}


def gpu_groups(sizes: Sizes) -> dict[str, Callable[[], Iterator[Row]]]:
    return {**large_groups(sizes), **shared_groups(sizes, "cuda")}


def large_groups(sizes: Sizes, stand_in: bool = False) -> dict[str, Callable[[], Iterator[Row]]]:
    """Groups that need a GPU to end in reasonable time. `stand_in` replaces their models by small ones on the CPU."""

    def engines(size: str) -> Iterator[Row]:
        from benchmarks.table.gpu_rows import GPU, STAND_IN, engine_rows

        return engine_rows(size, CACHE, sizes.repetitions, STAND_IN if stand_in else GPU)

    def reasoner(name: str) -> Iterator[Row]:
        from benchmarks.table.gpu_rows import GPU, STAND_IN, reasoner_rows

        return reasoner_rows(name, CACHE, sizes.repetitions, STAND_IN if stand_in else GPU)

    most = 1 if stand_in else None
    groups: dict[str, Callable[[], Iterator[Row]]] = {}
    groups |= {f"engines-{size}": partial(engines, size) for size in ("tiny", "small", "base_plus", "large")[:most]}
    return groups | {f"reasoner-{name}": partial(reasoner, name) for name in ("3B", "7B")[:most]}


def stand_in_groups(sizes: Sizes) -> dict[str, Callable[[], Iterator[Row]]]:
    return large_groups(sizes, stand_in=True)


def shared_groups(sizes: Sizes, device: str) -> dict[str, Callable[[], Iterator[Row]]]:
    parameters = [f"reasoner.device:={device}", f"segmenter.device:={device}"]

    def method() -> Iterator[Row]:
        from benchmarks.table.method_rows import rows

        return rows(device, sizes.repetitions, sizes.questions)

    def node() -> Iterator[Row]:
        from benchmarks.table.node_rows import overhead_row, start_rows

        yield overhead_row(CACHE, sizes.answers, parameters)
        yield from start_rows(CACHE, sizes.starts, parameters)

    def memory() -> Iterator[Row]:
        from benchmarks.table.node_rows import memory_rows

        given, models = parameters, "the embedded models"
        if device == "cpu":  # so that all questions are answered in time
            given = [*parameters, "tracker.mode:=reprompt", "stream.catch_up_s:=0.1"]
            models += ", masks propagated by prompting for 0.1 s at most"
        yield from memory_rows(CACHE, sizes.frames, sizes.asked, sizes.memory_s, models=models, parameters=given)

    def evaluation() -> Iterator[Row]:
        from benchmarks.table.evaluation_rows import evaluation_row

        yield evaluation_row(CACHE, sizes.samples, sizes.evaluations, device)

    def late() -> Iterator[Row]:
        from benchmarks.table.evaluation_rows import late_rows

        return late_rows(CACHE, sizes.videos)

    return {"method": method, "node": node, "evaluation": evaluation, "memory": memory, "late": late}


KINDS = {"CPU": cpu_groups, "GPU": gpu_groups, "stand-in": stand_in_groups}


def group_rows(kind: str, name: str, sizes: Sizes) -> Iterator[Row]:
    return KINDS[kind](sizes)[name]()
