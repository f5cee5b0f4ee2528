"""Model files that are no checkpoint of safetensors: what they are, and what to do with them."""

from __future__ import annotations

from pathlib import Path

from reasonseg_ros.files.documents import UnreadableDocument, read_json_document
from reasonseg_ros.plain_text import one_line

ADAPTER = "adapter_config.json"
_SERVE = "run them in their own server and ask it with reasoner.backend: server"
_FORMATS = {
    (".gguf",): ("GGUF weights of llama.cpp", f"{_SERVE}, or download the checkpoint's safetensors"),
    (".engine", ".plan", ".trt"): (
        "TensorRT engines of another program",
        f"{_SERVE}, or name the checkpoint; `reasonseg engine build` makes this package's engines of a segmenter",
    ),
    (".onnx",): (
        "ONNX graphs of another exporter",
        "name the checkpoint; `reasonseg export reasoner` and `reasonseg export segmenter` make this package's graphs",
    ),
    (".bin", ".pt", ".pth", ".ckpt"): (
        "weights as Python objects, which can run code and are never loaded",
        "download the checkpoint's safetensors, or load it with transformers and save it with save_pretrained",
    ),
    (".h5", ".msgpack", ".npz"): (
        "weights of TensorFlow or JAX",
        "download the checkpoint's safetensors, or convert it with transformers",
    ),
}
"""Endings of files, what they hold, and the remedy. Of several in a folder the first counts."""


def other_format(place: Path) -> str:
    """What a folder, or file, holds instead of a checkpoint of safetensors, and the remedy; empty if unknown."""
    folder, names = (place, _names(place)) if place.is_dir() else (place.parent, [place.name])
    if ADAPTER in names or any(name.startswith("adapter_model.") for name in names):
        return _adapter(folder)
    if any(name.endswith(".safetensors") for name in names):
        return ""
    for endings, (what, remedy) in _FORMATS.items():
        found = [name for name in names if name.lower().endswith(endings)]
        if found and not (endings == (".onnx",) and "manifest.json" in names):  # this package's own graphs
            return f"it holds {what} ({one_line(found[0])}); {remedy}"
    return ""


def _names(folder: Path) -> list[str]:
    """Names of the files in a folder and, as in optimum's exports, in its folder `onnx`."""
    places = [folder, folder / "onnx"]
    return sorted(path.name for place in places if place.is_dir() for path in place.iterdir() if path.is_file())


def _adapter(folder: Path) -> str:
    try:
        base = one_line(str(read_json_document(folder / ADAPTER)["base_model_name_or_path"]))[:200]
    except (UnreadableDocument, KeyError, TypeError):
        base = ""
    of_base, into = (f" of {base}", base) if base else ("", "its base model")
    return (
        f"it holds an adapter{of_base}, which is not applied; merge it into {into} and name the merged folder (peft's "
        "PeftModel.from_pretrained and merge_and_unload, then save_pretrained of model and processor)"
    )
