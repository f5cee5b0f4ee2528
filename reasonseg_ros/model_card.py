"""Model cards: what has to be known of a checkpoint to ask it rightly, one YAML file each in `models/`.

A folder with a checkpoint may hold its own `card.yaml` (with `source: .`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from reasonseg_ros.errors import ModelError
from reasonseg_ros.files.documents import UnreadableDocument, read_json_document, read_yaml_document, short_repr
from reasonseg_ros.files.model_formats import other_format
from reasonseg_ros.files.resources import resource

KINDS = ("reasoner", "segmenter")
DIALECTS = ("seg_zero", "vision_reasoner", "qwen2.5-vl", "qwen3-vl")
REFINEMENTS = ("none", "edges", "points", "both")
MAX_SIDE_PX = 8192
MAX_PIXELS = 100_000_000
"""Of an image that a model is shown: larger ones are mistakes, and take the machine's memory."""
COORDINATES = ("squashed", "resized", "relative_1000")
COMMERCIAL_USE = ("allowed", "not_allowed", "unclear")
FRAMES_PROMPT = (
    "These {frames} frames of one video come in the order of time, each behind its number. The question about the "
    'video is: "{query}". Follow what happens from frame to frame and settle on the one object that is meant. Then '
    "choose the frame in which this object is easiest to find: in full view, large, sharp, and not like its "
    "neighbours. Write your thinking inside <think> </think> tags and the final answer inside <answer> </answer> tags. "
    "The answer is the number of that frame and a short description by which the object can be found in it, as JSON, "
    'for example <think> your thinking goes here </think> <answer>[{"frame_idx": 4, "object description": "the blue '
    'cup next to the sink"}]</answer>. If nothing fits, answer [].'
)

# Which card's settings fit a checkpoint without a card: looked for in its name first, then by its config's model_type.
_LIKE_NAME = (
    ("seg-?_?zero", "seg-zero-7b"),
    ("vision-?_?reasoner", "vision-reasoner-7b"),
    ("qwen2[._]5-?_?vl", "qwen2.5-vl-7b"),
    ("qwen3-?_?vl", "qwen3-vl-8b"),
    ("sam2", "sam2.1-small"),
    ("edge-?_?tam", "sam2.1-tiny"),
)
_LIKE_TYPE = {
    "qwen2_5_vl": "qwen2.5-vl-7b",
    "qwen3_vl": "qwen3-vl-8b",
    "sam2": "sam2.1-small",
    "sam2_video": "sam2.1-small",
    "edgetam": "sam2.1-tiny",
    "edgetam_video": "sam2.1-tiny",
}
_BASE = {
    "seg-zero-7b": "qwen2_5_vl",
    "vision-reasoner-7b": "qwen2_5_vl",
    "qwen2.5-vl-7b": "qwen2_5_vl",
    "qwen3-vl-8b": "qwen3_vl",
}
"""The model_type of the reasoners that others may be like. Each type answers in other coordinates."""
_UNSTATED: dict[str, Any] = {"licence": "", "parameters_m": 0.0, "gated": False, "commercial_use": "unclear"}
"""What a checkpoint without a card does not have in common with the one that it is like."""


@dataclass(frozen=True)
class ModelCard:
    """One checkpoint.

    Attributes:
        kind: reasoner or segmenter.
        source: absolute folder, or hub id. In YAML a leading `.` or `/` makes it a folder, relative to the YAML.
        revision: branch, tag or commit on the hub.
        parameters_m: millions of parameters, as published; 0: not stated.
        gated: the hub hands it out only after its terms are accepted.
        commercial_use: whether the licence allows it: allowed, not_allowed or unclear.
        knows: what a checkpoint of one small world knows, in words; empty for a general one.
        dialect: reasoners: how the answer is written.
        image_size_wh: reasoners: the whole image is squashed to this; None leaves the processor's resize, which keeps
            the aspect ratio within `min_pixels` to `max_pixels` (0: the checkpoint's own).
        coordinates: reasoners: what the numbers of an answer are: pixels of the squashed image, pixels of the
            processor's resized image, or thousandths of width and height.
        prompt: reasoners: the user's turn; `{query}` is replaced by the question.
        system: reasoners: the system's turn, left out when empty.
        frames_prompt: reasoners: the user's words about the frames of a video; `{query}` and `{frames}`, their number,
            are replaced.
        frame_name: reasoners: stands before each frame; `{number}`, counted from 1, is replaced.
        frames: reasoners: how many frames of a video it is shown, unless the settings say otherwise.
        frames_size_wh: reasoners: each frame of a video is squashed to this; None takes `image_size_wh`.
        known_picture: reasoners: YAML file with a picture whose answers are known (for `reasoner.known_picture`); a
            path as in `source`. `none` for no such check, empty for the drawn shapes.
        vocabulary: reasoners: text file with the words that a small checkpoint was trained on, for its confidence; a
            path as in `source`, empty for none.
        image_size: segmenters: side of the square input in pixels; 0 takes the checkpoint's own.
        multimask: segmenters: decode several masks a prompt and keep the best predicted IoU.
        needs_boxes: segmenters: points without a box are refused, as the checkpoint is trained with boxes.
        refine: segmenters: the refinement that improves its masks, as measured (`segmenter.refinement`).
    """

    name: str
    kind: str
    source: str
    licence: str = ""
    url: str = ""
    revision: str = "main"
    parameters_m: float = 0.0
    gated: bool = False
    commercial_use: str = "unclear"
    knows: str = ""
    dialect: str = ""
    image_size_wh: tuple[int, int] | None = None
    min_pixels: int = 0
    max_pixels: int = 0
    coordinates: str = "squashed"
    prompt: str = "{query}"
    system: str = ""
    frames_prompt: str = FRAMES_PROMPT
    frame_name: str = "Frame {number}:"
    frames: int = 16
    frames_size_wh: tuple[int, int] | None = (448, 448)
    max_new_tokens: int = 1024
    known_picture: str = ""
    vocabulary: str = ""
    image_size: int = 0
    multimask: bool = True
    needs_boxes: bool = False
    refine: str = "none"

    def __post_init__(self) -> None:
        def need(right: bool, key: str, expected: str) -> None:
            if not right:
                value = short_repr(getattr(self, key))
                raise ModelError(f"model card {self.name!r}: {key} = {value}; expected {expected}")

        texts = ("name", "source", "licence", "url", "revision", "prompt", "system", "frames_prompt", "frame_name")
        for key in (*texts, "known_picture", "vocabulary", "knows"):
            need(isinstance(getattr(self, key), str), key, "text")
        for key in ("min_pixels", "max_pixels"):
            need(_is_count(getattr(self, key), 0, MAX_PIXELS), key, f"a whole number, 0 to {MAX_PIXELS}")
        need(_is_count(self.image_size, 0, MAX_SIDE_PX), "image_size", f"a whole number, 0 to {MAX_SIDE_PX}")
        need(self.kind in KINDS, "kind", " or ".join(KINDS))
        count_m = self.parameters_m
        is_number = isinstance(count_m, (int, float)) and not isinstance(count_m, bool)
        need(is_number and 0 <= count_m < 1e7, "parameters_m", "millions of parameters, below 10 million of them")
        need(self.commercial_use in COMMERCIAL_USE, "commercial_use", f"one of {', '.join(COMMERCIAL_USE)}")
        for key in ("multimask", "needs_boxes", "gated"):
            need(isinstance(getattr(self, key), bool), key, "true or false")
        need(self.refine in REFINEMENTS, "refine", f"one of {', '.join(REFINEMENTS)}")
        if self.kind == "segmenter":
            return
        picture = self.known_picture
        named = picture in ("", "none") or Path(picture).is_absolute()
        need(named, "known_picture", "a file's path that begins with . or /, or none")
        need(self.dialect in DIALECTS, "dialect", f"one of {', '.join(DIALECTS)}")
        need(self.coordinates in COORDINATES, "coordinates", f"one of {', '.join(COORDINATES)}")
        need("{query}" in self.prompt, "prompt", "a text that holds {query}")
        for key, most in (("max_new_tokens", 32768), ("frames", 1024)):
            need(_is_count(getattr(self, key), 1, most), key, f"a whole number, 1 to {most}")
        need("{query}" in self.frames_prompt, "frames_prompt", "a text that holds {query}")
        need("{number}" in self.frame_name, "frame_name", "a text that holds {number}")
        for key in ("image_size_wh", "frames_size_wh"):
            size = getattr(self, key)
            sized = isinstance(size, tuple) and len(size) == 2 and all(_is_count(side, 1, MAX_SIDE_PX) for side in size)
            need(size is None or sized, key, f"[width, height] in pixels, each at most {MAX_SIDE_PX}, or null")
        sized = self.image_size_wh is not None or self.coordinates != "squashed"
        need(sized, "image_size_wh", "a size, as coordinates is squashed")

    @property
    def is_folder(self) -> bool:
        return Path(self.source).is_absolute()


def load_card(name_or_path_or_hub_id: str, kind: str) -> ModelCard:
    """The card of a known name, a card's YAML file, a checkpoint's folder, or a hub id.

    A folder or hub id without a card gets the settings of the shipped card that its name or `config.json` is like.
    Raises ModelError if there is none, or if it is of another kind.
    """
    text = str(name_or_path_or_hub_id).strip()
    card = find_card(text)
    if card.kind != kind:
        raise ModelError(f"{text} is a {card.kind}; expected a {kind}: one of {', '.join(card_names(kind))}")
    return card


def card_names(kind: str | None = None) -> list[str]:
    """Names of the shipped cards (of one kind)."""
    return [path.stem for path in _card_paths() if kind is None or read_card(path).kind == kind]


def read_card(path: Path) -> ModelCard:
    """A card's YAML file. Its name is the file's, a `card.yaml`'s is its folder's. Raises ModelError."""
    path = Path(path).absolute()
    try:
        values = read_yaml_document(path)
    except UnreadableDocument as error:
        raise ModelError(f"model card {path} cannot be read: {error}") from error
    known = {item.name for item in fields(ModelCard)} - {"name"}
    if not isinstance(values, dict) or not {"kind", "source"} <= values.keys() <= known:
        raise ModelError(f"model card {path}: kind and source are needed; known keys are {', '.join(sorted(known))}")
    for key in ("image_size_wh", "frames_size_wh"):
        if isinstance(values.get(key), list):
            values[key] = tuple(values[key])
    for key in ("source", "known_picture", "vocabulary"):
        if str(values.get(key, "")).startswith((".", "/")):
            values[key] = str((path.parent / str(values[key])).resolve())
    return ModelCard(name=path.parent.name if path.stem == "card" else path.stem, **values)


def _card_paths() -> list[Path]:
    return sorted(resource("models").glob("*.yaml"))


def find_card(text: str) -> ModelCard:
    """`load_card` of any kind."""
    shipped = {path.stem: path for path in _card_paths()}
    if text in shipped:
        return read_card(shipped[text])
    path = Path(text).expanduser()
    if path.suffix in (".yaml", ".yml"):
        return read_card(path)
    if text and path.is_dir():
        return _folder_card(path.resolve(), shipped)
    if text and path.is_file():
        raise ModelError(f"model {text} is a file: {other_format(path) or 'name the folder that holds it'}")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text) or text.startswith((".", "~")):
        raise ModelError(f"model {text!r} is no folder, hub id or known name; known: {', '.join(shipped)}")
    return _hub_card(text, shipped)


def _folder_card(folder: Path, shipped: dict[str, Path]) -> ModelCard:
    if (folder / "card.yaml").is_file():
        return read_card(folder / "card.yaml")
    for path in shipped.values():
        if (card := read_card(path)).source == str(folder):
            return card
    if (folder / "manifest.json").is_file():  # exported graphs, which say themselves how they are to be used
        return ModelCard(name=folder.name, kind="segmenter", source=str(folder))
    if stated := other_format(folder):
        raise ModelError(f"{folder} is no checkpoint that can be loaded: {stated}")
    try:
        model_type = read_json_document(folder / "config.json")["model_type"]
    except (UnreadableDocument, KeyError, TypeError) as error:
        raise ModelError(f"{folder} holds no config.json with a model_type ({error}); download it again") from error
    like = _like_name(folder.name, str(model_type)) if model_type in _LIKE_TYPE else None
    like = like or _LIKE_TYPE.get(str(model_type))
    if like is None:
        kind, known = short_repr(model_type), ", ".join(_LIKE_TYPE)
        raise ModelError(f"{folder} is a {kind}; known are {known}. Write a card.yaml into it")
    base = read_card(shipped[like])
    return replace(base, name=folder.name, source=str(folder), url="", image_size=0, **_UNSTATED)


def _hub_card(hub_id: str, shipped: dict[str, Path]) -> ModelCard:
    cards = {path.stem: read_card(path) for path in shipped.values()}
    for card in cards.values():
        if card.source.lower() == hub_id.lower():
            return card
    like = _like_name(hub_id)
    if like is None:
        raise ModelError(f"no card is like {hub_id!r}; known: {', '.join(cards)}. Write a card and give its path")
    url = f"https://huggingface.co/{hub_id}"
    return replace(cards[like], name=hub_id, source=hub_id, url=url, image_size=0, **_UNSTATED)


def _like_name(name: str, model_type: str = "") -> str | None:
    """The shipped card that a name says. Raises ModelError if the name, or its `model_type`, says several kinds."""
    likes = [like for pattern, like in _LIKE_NAME if re.search(pattern, name.lower())]
    types = {_BASE[like] for like in likes if like in _BASE} | ({model_type} & set(_BASE.values()))
    if likes and len(types) > 1:
        raise ModelError(
            f"{name} may be {' or '.join(sorted(types))}, by its name and config.json, which answer in other "
            f"coordinates; write a card.yaml that says which, like models/{likes[0]}.yaml, and give its path"
        )
    return likes[0] if likes else None


def _is_count(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
