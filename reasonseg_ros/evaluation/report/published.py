"""Published results for comparison with a run. They are quoted from the papers, not measured here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """gIoU and cIoU in per cent, on the validation and the test split; None if the paper gives none."""

    method: str
    val: tuple[float, float | None] | None = None
    test: tuple[float, float | None] | None = None


PUBLISHED = (
    Published("SEEM", (22.5, 21.2)),
    Published("X-Decoder", (22.6, 17.9)),
    Published("GRES", (22.4, 19.9)),
    Published("OVSeg", (28.5, 18.6)),
    Published("SESAME", (34.8, 39.1), (30.5, 30.4)),
    Published("LISA-7B, zero-shot", (44.4, 46.0), (36.8, 34.1)),
    Published("LISA-7B, fine-tuned", (52.9, 54.0), (47.3, 48.4)),
    Published("LISA-13B-Llama2, fine-tuned", (60.0, 67.8), (51.5, 51.3)),
    Published("LLM-Seg, 20 epochs", (55.4, 45.6)),
    Published("READ-7B", (59.8, 67.6), (58.5, 58.6)),
    Published("READ-13B", None, (62.2, 62.8)),
    Published("Seg-Zero-3B", (58.2, 53.1), (56.1, 48.6)),
    Published("Seg-Zero-7B", (62.6, 62.0), (57.5, 52.0)),
    Published("VisionReasoner-7B", (66.3, None), (63.6, 55.7)),
    Published("Rea2Seg", None, (66.6, 65.5)),
)


SPLIT_SIZES = {"ReasonSeg val": 200, "ReasonSeg test": 779}
"""Samples of the splits that PUBLISHED was measured on."""


def published_on(data_set: str) -> list[tuple[str, float, float | None]]:
    """Method, gIoU and cIoU in per cent of the results published for this split; empty for any other data."""
    if data_set not in SPLIT_SIZES:
        return []
    rows = [(row.method, row.val if data_set.endswith(" val") else row.test) for row in PUBLISHED]
    return [(method, *values) for method, values in rows if values is not None]


@dataclass(frozen=True)
class PublishedVideo:
    """J, F and J&F in per cent; None if the paper gives J&F alone. `data` is the set with its split."""

    method: str
    data: str
    j: float | None
    f: float | None
    j_and_f: float


PUBLISHED_VIDEO = (
    PublishedVideo("ReVSeg-7B", "ReasonVOS", 61.8, 67.7, 64.8),
    PublishedVideo("ReVSeg-7B", "ReVOS valid", None, None, 62.1),
    PublishedVideo("ReVSeg-7B", "Ref-DAVIS17 valid", None, None, 80.7),
    PublishedVideo("ReVSeg-7B", "MeViS valid", None, None, 59.8),
)
