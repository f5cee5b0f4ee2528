"""Whether a checkpoint's weights are those of its architecture, and which of its files they come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.documents import UnreadableDocument, read_json_document
from reasonseg_ros.files.safetensors_header import stored_tensors
from reasonseg_ros.hub_cache import INDEX, WEIGHTS, index_files, snapshot, weight_files

_WHOLE_NUMBERS = ("I", "U", "BOOL")
"""How the types of stored numbers that are no fractions begin."""


def check_weights(model: Any, report: Mapping[str, Any], source: str, revision: str | None) -> None:
    """Raises ModelError if a loaded model's weights are not those of its architecture, or if files contradict.

    `report` is transformers' loading report; `source` a folder or a hub id.
    """
    if wrong := wrong_weights(report) or _wrong_head(model):
        raise ModelError(f"{wrong}; download the checkpoint again")
    folder = Path(source) if Path(source).is_dir() else snapshot(source, revision)
    if folder is not None:
        check_weight_files(folder)


def wrong_weights(report: Mapping[str, Any]) -> str:
    """What is wrong with the weights' names and shapes by transformers' loading report; empty if all is right.

    transformers draws missing weights at random and leaves unknown ones out, both without an error.
    """
    reshaped = report["mismatched_keys"]
    kinds = {
        "are missing": sorted(map(str, report["missing_keys"])),
        "have another shape": sorted(str(key[0] if isinstance(key, tuple) else key) for key in reshaped),
        "are unknown to this architecture": sorted(map(str, report["unexpected_keys"])),
    }
    wrong = [f"{len(keys)} weights {what}, {keys[0]} for one" for what, keys in kinds.items() if keys]
    return "; ".join(wrong)


def _wrong_head(model: Any) -> str:
    """Why the output weights are unclear: the configuration ties them to the input's, and the files have others."""
    if not getattr(model.config, "tie_word_embeddings", False):
        return ""
    ends = model.get_output_embeddings(), model.get_input_embeddings()
    if None in ends or ends[0].weight is ends[1].weight:
        return ""
    return "config.json sets tie_word_embeddings, and lm_head.weight differs from the embedding that it is tied to"


def check_weight_files(folder: Path) -> None:
    """Raises ModelError if it is unclear which of a folder's weights are meant, as transformers takes any of them.

    That is: one file and shards, a weight in two shards, and whole numbers without a `quantization_config`.
    """
    try:
        is_quantized = bool(read_json_document(folder / "config.json").get("quantization_config"))
    except (UnreadableDocument, AttributeError) as error:
        raise ModelError(f"{folder / 'config.json'} cannot be read: {error}; download the checkpoint again") from error
    shards = [path.name for path in index_files(folder) if path.name != WEIGHTS and path.is_file()]
    if shards and (folder / WEIGHTS).is_file():
        raise ModelError(f"{folder} has two sets of weights, {WEIGHTS} and {shards[0]} of {INDEX}; remove one of them")
    places: dict[str, str] = {}
    for path in weight_files(folder):
        for name, tensor in stored_tensors(path).items():
            if places.setdefault(name, path.name) != path.name:
                raise ModelError(
                    f"{name} is in {places[name]} and in {path.name} of {folder}; download the checkpoint again"
                )
            if not is_quantized and name.endswith((".weight", ".bias")) and tensor.dtype.startswith(_WHOLE_NUMBERS):
                raise ModelError(
                    f"{name} in {path} has numbers of type {tensor.dtype}, and config.json no quantization_config "
                    "that says what they mean; use the checkpoint before its quantization"
                )
