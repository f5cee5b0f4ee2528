"""The settings that determine the scores of a run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reasonseg_ros.files.bounded import read_text
from reasonseg_ros.model_card import ModelCard, load_card

PARAMETERS = ("reasoner", "segmenter", "selection", "tracker", "history", "candidates", "answer")
"""Groups of the node's parameters that scores depend on."""


def run_settings(settings: argparse.Namespace, values: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that a run's scores depend on; a resumed run must have the same."""
    from reasonseg_ros import __version__
    from reasonseg_ros.config import config_from
    from reasonseg_ros.evaluation.datasets.conversion import data_set_of
    from reasonseg_ros.evaluation.scoring.bootstrap import SEED
    from reasonseg_ros.recording.conditions import named_files
    from reasonseg_ros.versions import versions

    config = config_from(values)
    cards = {"reasoner": config.reasoner.model, "segmenter": config.segmenter.model}
    return {
        "bag": _described(settings.bags),
        "data_sets": sorted({data_set_of(bag) for bag in settings.bags}),
        "image_topic": settings.image_topic,
        "questions": read_text(settings.questions) if settings.questions else "",
        "kinds": sorted(settings.kinds),
        "method": config.method,
        "protocol": settings.protocol,
        "counterfactual": not settings.no_counterfactual,
        "parameters": {name: asdict(getattr(config, name)) for name in PARAMETERS},
        "named_files_sha256": named_files(config),
        "model_cards": {kind: _card(load_card(name, kind)) for kind, name in cards.items()},
        "reasoner_weights_sha256": _weights(load_card(config.reasoner.model, "reasoner"), config.reasoner.backend),
        "batch_size": settings.batch_size,
        "seed": SEED,
        "versions": {"reasonseg_ros": __version__, **versions()},
    }


def _weights(card: ModelCard, backend: str) -> str:
    """Digest of the weights in the checkpoint's folder; empty if they are not in a folder here."""
    from reasonseg_ros.engine.export_folder import weights_sha256

    return "" if backend == "server" or not card.is_folder else weights_sha256(Path(card.source))


def _card(card: ModelCard) -> dict[str, Any]:
    values = asdict(card)
    if not card.is_folder:
        return values
    from reasonseg_ros.recording.conditions import model_files

    folder = Path(card.source)
    # Further training keeps the file sizes, so modification times identify the files.
    written = {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in model_files(folder)}
    return {**values, "source": folder.name, "files_written_ns": written}


def _described(bags: Sequence[Path]) -> dict[str, Any]:
    """Names of the bags, and their files with sizes in bytes and modification times. A rewritten bag thus differs."""
    from reasonseg_ros.evaluation.bag_messages import bag_names

    names = bag_names(bags)
    files: dict[str, int] = {}
    written: dict[str, int] = {}
    for name, bag in zip(names, bags, strict=True):
        paths = sorted(path for path in bag.iterdir() if path.is_file()) if bag.is_dir() else [bag]
        prefix = f"{name}/" if len(bags) > 1 else ""
        files |= {prefix + path.name: path.stat().st_size for path in paths}
        written |= {prefix + path.name: path.stat().st_mtime_ns for path in paths}
    return {"name": ", ".join(names), "files": files, "written_ns": written}
