"""All settings with default, unit and bounds. The node's ROS parameters are generated from them.

A field's metadata holds `description` and, if they apply, `minimum`, `maximum`, `choices`, `read_only`.
A read-only value takes effect when the node is configured; the others may change while it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from reasonseg_ros.errors import ConfigError

METHODS = {"seg_zero": "SegZero", "rev_seg": "RevSeg"}
"""Class of each method, in the module `reasonseg_ros.methods.<name>`."""
ENGINE_BACKENDS = ("onnxruntime", "onnxruntime_tensorrt", "tensorrt", "tensorrt_rtx")
ENGINE_BUILDS = ("never", "if_missing", "force")


def setting(
    default: Any,
    description: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    read_only: bool = False,
) -> Any:
    metadata = {
        "description": description,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "read_only": read_only,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class ReasonerConfig:
    backend: str = setting(
        "auto",
        "where the reasoner runs: in this process with torch (local) or without it (onnxruntime, for exported "
        "checkpoints on the CPU), or on an OpenAI-compatible server; auto is onnxruntime if the checkpoint has graphs, "
        "else local",
        choices=("auto", "local", "onnxruntime", "server"),
        read_only=True,
    )
    model: str = setting("tabletop-reasoner", "name of a model card in models/, a folder, or a hub id", read_only=True)
    dialect: str = setting(
        "auto",
        "answer format; auto takes the model card's and detects others",
        choices=("auto", "seg_zero", "vision_reasoner", "qwen2.5-vl", "qwen3-vl"),
        read_only=True,
    )
    strict: bool = setting(
        False,
        "parse answers as the dialect authors' own scoring script does, without repair; for evaluations",
        read_only=True,
    )
    prompt_file: str = setting(
        "", "text file with the checkpoint's prompt; {query} is replaced by the question", read_only=True
    )
    device: str = setting("auto", "torch device; auto is cuda if there is a GPU, else cpu", read_only=True)
    dtype: str = setting(
        "auto",
        "data type of the weights; auto is bfloat16 on a GPU and float32 on the CPU",
        choices=("auto", "float32", "bfloat16", "float16"),
        read_only=True,
    )
    attention: str = setting("sdpa", "attention kernel", choices=("sdpa", "eager", "flash_attention_2"), read_only=True)
    quantization: str = setting(
        "none",
        "quantization of the weights by bitsandbytes (needs a GPU)",
        choices=("none", "8bit", "4bit"),
        read_only=True,
    )
    min_pixels: int = setting(
        0, "minimum pixels of an image for the reasoner; 0: the checkpoint's value", 0, 100_000_000, read_only=True
    )
    max_pixels: int = setting(
        0, "maximum pixels of an image for the reasoner; 0: the checkpoint's value", 0, 100_000_000, read_only=True
    )
    offline: bool = setting(False, "use local files only, never the hub", read_only=True)
    max_new_tokens: int = setting(0, "maximum length of an answer, tokens; 0: the model card's value", 0, 32768)
    time_limit_s: float = setting(60.0, "maximum time for one answer, seconds", 0.1, 3600.0)
    kept_frames: int = setting(
        2,
        "images whose key-value cache is kept, so that more questions about them are answered faster; 0: none",
        0,
        64,
        read_only=True,
    )
    kept_mb: int = setting(512, "maximum memory for these caches, MB", 1, 1_000_000, read_only=True)
    threads: int = setting(
        0,
        "threads on the CPU; 0: with torch OMP_NUM_THREADS if set, else one core fewer than there are, for the "
        "segmenter; with onnxruntime one for the text and every core for the image",
        0,
        256,
        read_only=True,
    )
    server_url: str = setting("http://127.0.0.1:8000/v1", "base address of the server", read_only=True)
    server_key_variable: str = setting("", "environment variable that holds the server's key", read_only=True)
    server_retries: int = setting(2, "retries if the server does not answer", 0, 10, read_only=True)
    known_picture: str = setting(
        "never",
        "at configuration, ask about a picture with known boxes, to detect boxes in wrong coordinates; "
        "warn: a failure is a warning in diagnostics; require: a failure fails the configuration",
        choices=("never", "warn", "require"),
        read_only=True,
    )


@dataclass(frozen=True)
class SegmenterConfig:
    model: str = setting("tabletop-segmenter", "name of a model card in models/, a folder, or a hub id", read_only=True)
    device: str = setting("auto", "cpu, cuda or cuda:1; auto is cuda if there is a GPU, else cpu", read_only=True)
    dtype: str = setting(
        "auto",
        "data type of the weights in torch; auto is bfloat16 on a GPU and float32 on the CPU",
        choices=("auto", "float32", "bfloat16", "float16"),
        read_only=True,
    )
    offline: bool = setting(False, "use local files only, never the hub", read_only=True)
    backend: str = setting(
        "auto",
        "runtime of the model; auto is onnxruntime for exported graphs, torch for other checkpoints",
        choices=("auto", "torch", *ENGINE_BACKENDS),
        read_only=True,
    )
    threads: int = setting(0, "onnxruntime threads on the CPU; 0: one per core", 0, 256, read_only=True)
    engine_build: str = setting(
        "if_missing",
        "TensorRT engines at configuration: only those in the cache (never), build missing ones, or build all (force)",
        choices=ENGINE_BUILDS,
        read_only=True,
    )
    engine_workspace_mib: int = setting(
        0, "maximum memory for building TensorRT engines, MiB; 0: no limit", 0, 1_000_000, read_only=True
    )
    engine_cache_gib: float = setting(
        10.0,
        "maximum size of the engine cache, GiB; the least recently used engines are removed first",
        0.1,
        10_000.0,
        read_only=True,
    )
    fill_holes_share: float = setting(0.01, "fill holes up to this share of the mask's area", 0.0, 1.0)
    remove_specks_share: float = setting(0.01, "remove fragments up to this share of the mask's area", 0.0, 1.0)
    refine: str = setting(
        "auto",
        "mask refinement: outlines snap to image edges (edges), stray parts are removed by prompts (points); "
        "auto: by the "
        "model card",
        choices=("auto", "none", "edges", "points", "both"),
        read_only=True,
    )
    encode_beside: bool = setting(
        True,
        "encode the image while the reasoner runs, even if no mask will be needed; false: encode afterwards, if needed",
    )
    kept_frames: int = setting(2, "images whose features are cached for further questions", 1, 64, read_only=True)
    keep_raw_mask: bool = setting(False, "also publish the mask before clean-up")


@dataclass(frozen=True)
class TrackerConfig:
    mode: str = setting(
        "auto",
        "track targets with SAM2's memory, or by prompting with the last mask's box and point, which needs no "
        "memory and less time; auto is memory if the checkpoint has one",
        choices=("auto", "memory", "reprompt"),
        read_only=True,
    )
    lost_after_s: float = setting(3.0, "a target that is not visible for this time is lost, seconds", 0.0, 3600.0)
    overlap: bool = setting(
        False, "masks of tracked targets may overlap; false: each pixel belongs to the most confident one"
    )


@dataclass(frozen=True)
class CameraConfig:
    transport: str = setting("raw", "type of the image topic", choices=("raw", "compressed"), read_only=True)
    reliability: str = setting(
        "auto",
        "quality of service of image, depth and camera_info; auto is reliable, or best effort if a "
        "publisher offers only that",
        choices=("auto", "best_effort", "reliable"),
        read_only=True,
    )
    depth: int = setting(5, "queue depth of the image subscription", 1, 100, read_only=True)
    max_megapixels: float = setting(100.0, "larger images are rejected before decoding, megapixels", 0.01, 1000.0)
    depth_transport: str = setting(
        "raw",
        "type of the depth topic; compressed: compressedDepth, or a compressed image of 16UC1 or 32FC1",
        choices=("raw", "compressed"),
        read_only=True,
    )
    depth_tolerance_s: float = setting(
        0.02,
        "maximum stamp difference of an image and its depth image, seconds; less than half the camera's period",
        0.0,
        1.0,
        read_only=True,
    )
    depth_wait_s: float = setting(
        0.1, "maximum wait of an image for its depth image, once depth has arrived, seconds", 0.0, 2.0, read_only=True
    )
    rectification: str = setting(
        "auto",
        "raw: the image has lens distortion, K and D of camera_info apply; rectified: the distortion is "
        "removed, "
        "P applies; auto: rectified if the image topic has a part image_rect*, rect or rectified",
        choices=("auto", "raw", "rectified"),
        read_only=True,
    )
    depth_rectification: str = setting(
        "auto",
        "the same for depth; auto: by its topic (image_rect*, image_raw*), else like the image",
        choices=("auto", "raw", "rectified"),
        read_only=True,
    )
    depth_any_frame: bool = setting(
        False, "accept depth whose frame_id differs from the image's; for depth that is registered to the image anyway"
    )
    info_max_age_s: float = setting(
        2.0,
        "maximum stamp difference of an image and its camera_info, seconds; 0: no limit; there is none for a "
        "camera_info that is latched or has no stamp",
        0.0,
        86_400.0,
    )
    silent_warn_s: float = setting(2.0, "time without an image until a warning, seconds", 0.1, 3600.0)
    silent_error_s: float = setting(
        10.0, "time without an image until an error, which also ends tracking, seconds", 0.1, 3600.0
    )


@dataclass(frozen=True)
class QueryConfig:
    policy: str = setting(
        "queue", "what a new question does while another one is being answered", choices=("queue", "replace", "refuse")
    )
    queue_size: int = setting(8, "maximum waiting questions; more are refused", 1, 1000)
    max_characters: int = setting(2000, "maximum length of a question, characters", 1, 100_000)
    frame_wait_s: float = setting(5.0, "maximum wait of a question for an image, seconds", 0.0, 3600.0)
    image_max_age_s: float = setting(
        10.0,
        "maximum age of the image that a question is about, since its arrival, seconds; 0: no limit",
        0.0,
        86_400.0,
    )
    watch_period_s: float = setting(5.0, "period after which a standing question is asked again, seconds", 0.1, 3600.0)
    watch_change: float = setting(
        0.0,
        "mean change of the image, as a share of its range, at which a standing question is asked again; 0: never",
        0.0,
        1.0,
    )
    prepare: str = setting(
        "never",
        "idle: while there is no question, prefill and encode the newest image; a question is then about the "
        "last "
        "prepared image, if that is not older than the period",
        choices=("never", "idle"),
    )
    prepare_period_s: float = setting(1.0, "minimum time between two prepared images, seconds", 0.05, 3600.0)
    ask_again: int = setting(1, "how many times a question is asked again if its target is lost", 0, 100)


@dataclass(frozen=True)
class StreamConfig:
    carry: bool = setting(True, "propagate an answer to the newest image before publishing it")
    catch_up_s: float = setting(0.5, "maximum time for propagation, seconds; images are skipped to keep it", 0.0, 60.0)
    buffer_s: float = setting(10.0, "length of the image buffer for late answers, seconds", 0.1, 600.0, read_only=True)
    buffer_hz: float = setting(10.0, "maximum rate of buffered images, Hz", 0.1, 1000.0, read_only=True)
    buffer_mb: int = setting(300, "maximum memory for buffered images, MB", 1, 100_000, read_only=True)
    follow_watched: bool = setting(True, "track the targets of standing questions between two answers")
    follow_hz: float = setting(0.0, "maximum tracking rate, Hz; 0: every image", 0.0, 1000.0, read_only=True)


@dataclass(frozen=True)
class HistoryConfig:
    frames: int = setting(
        0,
        "images for a question about what happened, evenly spaced in time; 0: the model card's value",
        0,
        64,
    )
    seconds: float = setting(4.0, "look-back window of these images, seconds", 0.1, 600.0)


@dataclass(frozen=True)
class PointsConfig:
    target_frame: str = setting("", "tf frame of 3D results; empty: the camera's frame", read_only=True)
    transform_wait_s: float = setting(0.05, "maximum wait for the transform of an image, seconds", 0.0, 2.0)
    min_valid_share: float = setting(0.3, "minimum share of the mask with valid depth for a 3D box", 0.0, 1.0)


@dataclass(frozen=True)
class AnswerConfig:
    min_confidence: float = setting(
        -1.0,
        "answers with a lower confidence have the status unsure; 0: none; -1: the threshold of the checkpoint's "
        "calibration, none without one",
        -1.0,
        1.0,
    )


@dataclass(frozen=True)
class OutputConfig:
    mask_encoding: str = setting("png", "encoding of masks in messages", choices=("png", "rle"))
    overlay_alpha: float = setting(
        0.12, "opacity of the masks in the overlay; low, so that colours stay recognisable", 0.0, 1.0
    )
    reliability: str = setting(
        "reliable", "quality of service of the published topics", choices=("best_effort", "reliable"), read_only=True
    )
    depth: int = setting(
        10,
        "queue depth of published images, points and markers; answers have 1 and are latched",
        1,
        1000,
        read_only=True,
    )


@dataclass(frozen=True)
class Config:
    autostart: bool = setting(True, "configure and activate at start", read_only=True)
    diagnostics_period_s: float = setting(1.0, "period of diagnostics, seconds", 0.1, 60.0, read_only=True)
    method: str = setting(
        "rev_seg",
        "method: seg_zero answers about one image; rev_seg also tracks targets and answers about several images",
        choices=tuple(METHODS),
        read_only=True,
    )
    reasoner: ReasonerConfig = field(default_factory=ReasonerConfig)
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    query: QueryConfig = field(default_factory=QueryConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    history: HistoryConfig = field(default_factory=HistoryConfig)
    points: PointsConfig = field(default_factory=PointsConfig)
    answer: AnswerConfig = field(default_factory=AnswerConfig)
    output: OutputConfig = field(default_factory=OutputConfig)


def settings(config: Any = None, prefix: str = "") -> Iterator[tuple[str, Field[Any], Any]]:
    """Dotted name, field and value of every setting of `config` (default: the defaults)."""
    config = Config() if config is None else config
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield from settings(value, f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, item, value


def check(name: str, item: Field[Any], value: Any) -> Any:
    """`value` in the field's type. Raises ConfigError, which states the bounds, if it is not allowed."""
    kind = type(item.default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"{name} = {value!r}; expected {kind.__name__}")
    limits = item.metadata
    if limits["choices"] and value not in limits["choices"]:
        raise ConfigError(f"{name} = {value!r}; expected one of {', '.join(limits['choices'])}")
    if limits["minimum"] is not None and not limits["minimum"] <= value <= limits["maximum"]:
        raise ConfigError(f"{name} = {value}; expected {limits['minimum']} to {limits['maximum']}")
    return value


def check_names(names: Iterable[str]) -> None:
    """Raises ConfigError if a name is unknown; the message suggests similar names."""
    known = [name for name, _, _ in settings()]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError("; ".join(f"no parameter {name!r}{_did_you_mean(name, known)}" for name in unknown))


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    by_last = {one.rsplit(".", 1)[-1]: one for one in known}
    lower = name.lower()
    like = get_close_matches(lower, known, n=1, cutoff=0.75)
    # The group is missing or wrong, as in `device` or `reasoner.transport`.
    last = lower.rsplit(".", 1)[-1]
    like = like or [one for one in known if one.rsplit(".", 1)[-1] == last][:3]
    like = like or [by_last[one] for one in get_close_matches(last, by_last, n=1, cutoff=0.75)]
    like = like or get_close_matches(lower, known, n=1)
    return f", did you mean {' or '.join(like)}?" if like else ""


def config_from(values: Mapping[str, Any]) -> Config:
    """A Config from dotted names, defaults for the rest. Raises ConfigError on unknown names and bad values."""
    check_names(values)

    def build(kind: Any, prefix: str) -> Any:
        chosen = {}
        for item in fields(kind):
            name = prefix + item.name
            if not item.metadata:
                chosen[item.name] = build(item.default_factory, f"{name}.")
            elif name in values:
                chosen[item.name] = check(name, item, values[name])
        return kind(**chosen)

    config: Config = build(Config, "")
    return config
