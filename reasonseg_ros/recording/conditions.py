"""The conditions of an answer besides images and settings: versions, the machine, and the files of the models."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import reasonseg_ros
from reasonseg_ros.config import Config, settings
from reasonseg_ros.engine.export_folder import BESIDE
from reasonseg_ros.engine.manifest import file_sha256
from reasonseg_ros.files.strict_json import json_text, parse_json
from reasonseg_ros.model_card import ModelCard, load_card
from reasonseg_ros.reasoner.loading import has_graphs
from reasonseg_ros.segmenter.loading import choose_backend
from reasonseg_ros.versions import versions

ANSWERING = (
    "method", "reasoner.", "segmenter.", "selection.", "candidates.", "history.", "answer.", "points.min_valid_share",
)  # fmt: skip
"""Prefixes of the settings that an answer depends on, before it is propagated to later images."""
_NO_MATTER = ("reasoner.time_limit_s", "reasoner.known_picture")
_MODEL_FILES = (".safetensors", ".onnx", ".data", ".bin", ".json", ".jinja", ".txt", ".yaml")
_ENGINES = ("tensorrt", "tensorrt_rtx")


def settings_of(config: Config) -> dict[str, Any]:
    """Every parameter by its dotted name. A user and password in the server's address are left out."""
    values = {name: value for name, _, value in settings(config)}
    values["reasoner.server_url"] = re.sub(r"(?<=//)[^/@]*@", "", values["reasoner.server_url"])
    return values


def conditions_of(config: Config) -> dict[str, Any]:
    """Versions, machine and models of a configuration whose models could be loaded. Slow: it hashes model files."""
    reasoner, segmenter = load_card(config.reasoner.model, "reasoner"), load_card(config.segmenter.model, "segmenter")
    reasoner_on = config.reasoner.backend
    if reasoner_on == "auto":
        reasoner_on = "onnxruntime" if has_graphs(reasoner, config.reasoner) else "local"
    return {
        "versions": {"reasonseg_ros": reasonseg_ros.__version__, **versions()},
        "machine": {"platform": platform.platform(), "processor": _processor()},
        "reasoner": _model(reasoner, reasoner_on),
        "segmenter": _model(segmenter, choose_backend(segmenter, config.segmenter)[0]),
        "named_files_sha256": named_files(config),
    }


def named_files(config: Config) -> dict[str, str]:
    """SHA-256 of the files that settings name besides the models, by parameter; empty for a missing file."""
    reasoner = config.reasoner
    named = {"reasoner.prompt_file": reasoner.prompt_file, "reasoner.confidence_file": reasoner.confidence_file}
    found = {name: _digest_of(Path(text).expanduser()) for name, text in named.items() if text}
    if config.method == "llm_seg":
        from reasonseg_ros.methods.llm_seg import selection_folder

        folder = selection_folder(config.selection.model)
        found |= {f"selection.model {path.name}": _digest(path) for path in model_files(folder)}
    return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each value that differs between two `conditions_of` or two `settings_of`."""
    old, new = dict(_flat(before, "")), dict(_flat(now, ""))
    return [
        f"{name} {_shown(old.get(name, 'none'))} -> {_shown(new.get(name, 'none'))}"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]


def answering_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of `settings_of` that an answer depends on, before it is propagated."""
    return {name: value for name, value in values.items() if matters(name)}


def matters(name: str) -> bool:
    """Whether an answer, before it is propagated, depends on this parameter."""
    return name.startswith(ANSWERING) and not name.startswith(_NO_MATTER)


def _model(card: ModelCard, backend: str) -> dict[str, Any]:
    source = Path(card.source).name if card.is_folder else card.source
    values = parse_json(json_text({**asdict(card), "source": source}))  # as from a file: lists instead of tuples
    found: dict[str, Any] = {"backend": backend, "card": values}
    folder = Path(card.source) if card.is_folder else _downloaded(card)
    if backend == "server" or folder is None:
        return found
    files = model_files(folder)
    found["files_sha256"] = {str(path.relative_to(folder)): _digest(path) for path in files}
    if backend in _ENGINES:
        found["engines_sha256"] = _engines({_digest(path) for path in files if path.suffix == ".onnx"})
    return found


def model_files(folder: Path) -> list[Path]:
    """The files that an answer may depend on in a checkpoint's folder and in its export."""
    folders = (folder, folder / BESIDE)
    paths = [path for one in folders if one.is_dir() for path in one.iterdir()]
    return sorted(path for path in paths if path.suffix in _MODEL_FILES and path.is_file())


def _digest(path: Path) -> str:
    """SHA-256 of a file. The hub's cache names large files by it, so these need not be read."""
    name = path.resolve().name
    return name if re.fullmatch(r"[0-9a-f]{64}", name) else file_sha256(path)


def _digest_of(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError:
        return ""


def _downloaded(card: ModelCard) -> Path | None:
    """The folder of a checkpoint from the hub; None if it is not on this machine."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(card.source, "config.json", revision=card.revision)
    return Path(found).parent if isinstance(found, str) else None


def _engines(graphs: set[str]) -> dict[str, str]:
    """SHA-256 of the cached engines that were built from graphs with these digests, by name."""
    from reasonseg_ros.engine.cache import EngineCache

    entries = (entry for entry in EngineCache().entries() if entry.key.onnx_sha256 in graphs)
    return {f"{entry.name} {entry.key.digest[:12]}": entry.sha256 for entry in entries}


def _processor() -> str:
    """Name of the CPU, from Linux; elsewhere the architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.machine()
    named = re.search(r"^(?:model name|Model)\s*: (.+)$", text, re.MULTILINE)
    return named[1] if named else platform.machine()


def _flat(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield prefix + name, value


def _shown(value: Any) -> str:
    text = str(value)
    return text[:12] if re.fullmatch(r"[0-9a-f]{64}", text) else text[:80]
