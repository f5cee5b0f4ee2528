"""Everything that can be set, with default, unit and bounds. The node's ROS parameters are generated from this.

A field's metadata holds `description` and, where they apply, `minimum`, `maximum`, `choices`, `read_only`.
A read-only value takes effect when the node is configured; the others may change while it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from reasonseg_ros.errors import ConfigError

METHODS = ("seg_zero", "rev_seg")
ENGINE_BACKENDS = ("onnxruntime", "onnxruntime_tensorrt", "tensorrt", "tensorrt_rtx")
ENGINE_BUILDS = ("never", "if_missing", "force")
"""The ways to answer; `methods.loading` builds them."""


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
        "local", "where the reasoner runs: in this process, or behind an OpenAI-compatible server",
        choices=("local", "server"), read_only=True,
    )
    model: str = setting(
        "tabletop-reasoner", "name of a model card in models/, a folder, or a hub id", read_only=True
    )
    dialect: str = setting(
        "auto", "answer format; auto takes the model card's and detects others",
        choices=("auto", "seg_zero", "vision_reasoner", "qwen2.5-vl", "qwen3-vl"), read_only=True,
    )
    strict: bool = setting(
        False, "read answers only as the dialect's authors do when they score, without repair; for evaluations",
        read_only=True,
    )
    prompt_file: str = setting("", "text file with the checkpoint's own prompt; {query} is replaced", read_only=True)
    device: str = setting("auto", "torch device; auto is cuda where there is one, else cpu", read_only=True)
    dtype: str = setting(
        "auto", "weights' type; auto is bfloat16 on a GPU and float32 on the CPU",
        choices=("auto", "float32", "bfloat16", "float16"), read_only=True,
    )
    attention: str = setting(
        "sdpa", "attention kernel", choices=("sdpa", "eager", "flash_attention_2"), read_only=True
    )
    quantization: str = setting(
        "none", "bitsandbytes weights (needs a GPU)", choices=("none", "8bit", "4bit"), read_only=True
    )
    min_pixels: int = setting(0, "least image pixels; 0 takes the checkpoint's own", 0, 100_000_000, read_only=True)
    max_pixels: int = setting(0, "most image pixels; 0 takes the checkpoint's own", 0, 100_000_000, read_only=True)
    offline: bool = setting(False, "never ask the hub, use local files only", read_only=True)
    max_new_tokens: int = setting(0, "longest answer in tokens; 0 takes the model card's", 0, 32768)
    time_limit_s: float = setting(60.0, "longest time for one answer, seconds", 0.1, 3600.0)
    kept_frames: int = setting(
        2, "images whose reading is kept, so that further questions about them answer sooner; 0: none", 0, 64,
        read_only=True,
    )
    kept_mb: int = setting(512, "most memory for these readings, MB", 1, 1_000_000, read_only=True)
    threads: int = setting(
        0, "torch's threads on the CPU; 0 leaves a core to the segmenter, or is OMP_NUM_THREADS", 0, 256, read_only=True
    )
    server_url: str = setting("http://127.0.0.1:8000/v1", "base address of the server", read_only=True)
    server_key_variable: str = setting("", "environment variable that holds the server's key", read_only=True)
    server_retries: int = setting(2, "further tries when the server does not answer", 0, 10, read_only=True)
    known_picture: str = setting(
        "never", "ask about a picture whose boxes are known while the node is configured, which shows boxes in wrong "
        "coordinates; warn: a failure is a warning in diagnostics; require: it fails the configuration",
        choices=("never", "warn", "require"), read_only=True,
    )


@dataclass(frozen=True)
class SegmenterConfig:
    model: str = setting(
        "tabletop-segmenter", "name of a model card in models/, a folder, or a hub id", read_only=True
    )
    device: str = setting("auto", "cpu, cuda or cuda:1; auto is cuda where there is one, else cpu", read_only=True)
    dtype: str = setting(
        "auto", "weights' type in torch; auto is bfloat16 on a GPU and float32 on the CPU",
        choices=("auto", "float32", "bfloat16", "float16"), read_only=True,
    )
    offline: bool = setting(False, "never ask the hub, use local files only", read_only=True)
    backend: str = setting(
        "auto", "what runs the model; auto is onnxruntime for exported graphs, torch for other checkpoints",
        choices=("auto", "torch", *ENGINE_BACKENDS), read_only=True,
    )
    threads: int = setting(0, "onnxruntime's threads on the CPU; 0 is one for each core", 0, 256, read_only=True)
    engine_build: str = setting(
        "if_missing", "TensorRT engines when the node is configured: use those in the cache only, or build them",
        choices=ENGINE_BUILDS, read_only=True,
    )
    engine_workspace_mib: int = setting(
        0, "memory that TensorRT may use to build, MiB; 0 is no limit", 0, 1_000_000, read_only=True
    )
    engine_cache_gib: float = setting(
        10.0, "size of the cache of engines, GiB; those not used for longest go first", 0.1, 10_000.0, read_only=True
    )
    fill_holes_share: float = setting(0.01, "fill holes up to this share of the mask's area", 0.0, 1.0)
    remove_specks_share: float = setting(0.01, "remove fragments up to this share of the mask's area", 0.0, 1.0)
    refine: str = setting(
        "auto", "better masks: outlines moved to image edges, stray parts prompted away; auto asks the model card",
        choices=("auto", "none", "edges", "points", "both"), read_only=True,
    )
    encode_beside: bool = setting(
        True, "encode the image while the reasoner thinks, in vain where nothing fits; false: after it, if needed"
    )
    kept_frames: int = setting(2, "images whose features are kept for further questions", 1, 64, read_only=True)
    keep_raw_mask: bool = setting(False, "publish the mask before clean-up as well")


@dataclass(frozen=True)
class TrackerConfig:
    mode: str = setting(
        "auto", "targets are followed by SAM2's memory, or by prompting with the last mask's box and point, which "
        "needs no memory and less time; auto is memory where the checkpoint has it",
        choices=("auto", "memory", "reprompt"), read_only=True,
    )
    lost_after_s: float = setting(3.0, "a target out of sight for so long is lost, seconds", 0.0, 3600.0)
    overlap: bool = setting(False, "masks of followed targets may overlap; else a pixel belongs to the surest one")


@dataclass(frozen=True)
class CameraConfig:
    transport: str = setting("raw", "type of the image topic", choices=("raw", "compressed"), read_only=True)
    reliability: str = setting(
        "auto", "quality of service of image, depth and camera_info; auto is reliable, and best effort "
        "where a publisher offers no more", choices=("auto", "best_effort", "reliable"), read_only=True,
    )
    depth: int = setting(5, "queue depth of the image subscription", 1, 100, read_only=True)
    max_megapixels: float = setting(
        100.0, "larger images are refused before they are decoded, millions of pixels", 0.01, 1000.0
    )
    depth_transport: str = setting(
        "raw", "type of the depth topic; compressed: compressedDepth, or a compressed image of 16UC1 or 32FC1",
        choices=("raw", "compressed"), read_only=True,
    )
    depth_tolerance_s: float = setting(
        0.02, "depth images belong to the image of about the same stamp, seconds; less than half the camera's period",
        0.0, 1.0, read_only=True,
    )
    depth_wait_s: float = setting(
        0.1, "an image waits so long for its depth, once there was any, seconds", 0.0, 2.0, read_only=True
    )
    rectification: str = setting(
        "auto", "whether lens distortion is in the image (raw: K and D of camera_info count) or was removed from it "
        "(rectified: P counts); auto: rectified where the image topic has a part image_rect*, rect or rectified",
        choices=("auto", "raw", "rectified"), read_only=True,
    )
    depth_rectification: str = setting(
        "auto", "the same for depth; auto: as its topic says (image_rect*, image_raw*), else as the image",
        choices=("auto", "raw", "rectified"), read_only=True,
    )
    depth_any_frame: bool = setting(
        False, "use depth whose frame_id is not the image's; for depth that is registered to the image all the same"
    )
    info_max_age_s: float = setting(
        2.0, "a camera_info whose stamp is this far from the image's is not used, unless it is latched or has no "
        "stamp, seconds; 0: whatever its age", 0.0, 86_400.0,
    )
    silent_warn_s: float = setting(2.0, "no image for so long is a warning, seconds", 0.1, 3600.0)
    silent_error_s: float = setting(
        10.0, "no image for so long is an error and ends what is followed, seconds", 0.1, 3600.0
    )


@dataclass(frozen=True)
class QueryConfig:
    policy: str = setting(
        "queue", "what a new question does while another is answered", choices=("queue", "replace", "refuse")
    )
    queue_size: int = setting(8, "questions that may wait; further ones are refused", 1, 1000)
    max_characters: int = setting(2000, "longest question", 1, 100_000)
    frame_wait_s: float = setting(5.0, "how long a question waits for a frame, seconds", 0.0, 3600.0)
    image_max_age_s: float = setting(
        10.0, "a question is not about an image that came longer ago, seconds; 0: whatever its age", 0.0, 86_400.0
    )
    watch_period_s: float = setting(5.0, "a standing question is asked again after so long, seconds", 0.1, 3600.0)
    watch_change: float = setting(
        0.0, "a standing question is asked again when the image changed by this mean share of its range; 0: never",
        0.0, 1.0,
    )
    prepare: str = setting(
        "never", "idle: while nothing is asked, read and encode the newest image ahead; a question is then about the "
        "last prepared image, if that is not older than the period", choices=("never", "idle"),
    )
    prepare_period_s: float = setting(1.0, "least time between two images prepared, seconds", 0.05, 3600.0)
    ask_again: int = setting(1, "how often a question is asked again when its target was lost", 0, 100)


@dataclass(frozen=True)
class StreamConfig:
    carry: bool = setting(True, "carry an answer to the newest image before it is published")
    catch_up_s: float = setting(0.5, "time that carrying may take, seconds; images in between are left out", 0.0, 60.0)
    buffer_s: float = setting(10.0, "seconds of images kept for late answers", 0.1, 600.0, read_only=True)
    buffer_hz: float = setting(10.0, "at most so many images a second are kept", 0.1, 1000.0, read_only=True)
    buffer_mb: int = setting(300, "at most so many megabytes of images are kept", 1, 100_000, read_only=True)
    follow_watched: bool = setting(True, "follow the targets of standing questions between two answers")
    follow_hz: float = setting(
        0.0, "follow targets at most so often a second; 0: on every image", 0.0, 1000.0, read_only=True
    )


@dataclass(frozen=True)
class HistoryConfig:
    frames: int = setting(
        0, "a question about what happened is shown so many images, evenly spread in time; 0 takes the model card's",
        0, 64,
    )
    seconds: float = setting(4.0, "and they are of the last so many seconds", 0.1, 600.0)


@dataclass(frozen=True)
class PointsConfig:
    target_frame: str = setting("", "tf frame of results in space; empty is the camera's own", read_only=True)
    transform_wait_s: float = setting(0.05, "wait so long for the transform of an image, seconds", 0.0, 2.0)
    min_valid_share: float = setting(0.3, "no box in space where less of the mask's depth is known", 0.0, 1.0)


@dataclass(frozen=True)
class OutputConfig:
    mask_encoding: str = setting("png", "how masks travel in messages", choices=("png", "rle"))
    overlay_alpha: float = setting(
        0.12, "opacity of the masks in the overlay; light, so that colours are recognised below", 0.0, 1.0
    )
    reliability: str = setting(
        "reliable", "quality of service of the published topics", choices=("best_effort", "reliable"), read_only=True
    )
    depth: int = setting(
        10, "queue depth of the published images, points and markers; answers have 1, kept for late subscribers",
        1, 1000, read_only=True,
    )


@dataclass(frozen=True)
class Config:
    autostart: bool = setting(True, "configure and activate at start", read_only=True)
    diagnostics_period_s: float = setting(1.0, "time between diagnostics, seconds", 0.1, 60.0, read_only=True)
    method: str = setting(
        "rev_seg", "way to answer: seg_zero answers about one image; rev_seg also follows targets and answers about "
        "several images", choices=METHODS, read_only=True,
    )
    reasoner: ReasonerConfig = field(default_factory=ReasonerConfig)
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    query: QueryConfig = field(default_factory=QueryConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    history: HistoryConfig = field(default_factory=HistoryConfig)
    points: PointsConfig = field(default_factory=PointsConfig)
    output: OutputConfig = field(default_factory=OutputConfig)


def settings(config: Any = None, prefix: str = "") -> Iterator[tuple[str, Field[Any], Any]]:
    """Dotted name, field and value of every setting of `config` (of the defaults without one)."""
    config = Config() if config is None else config
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield from settings(value, f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, item, value


def check(name: str, item: Field[Any], value: Any) -> Any:
    """`value` in the field's type. Raises ConfigError with the bounds where it is not allowed."""
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
    """Raises ConfigError where one of the names is no setting, with the known names that are most like it."""
    known = [name for name, _, _ in settings()]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError("; ".join(f"no parameter {name!r}{_did_you_mean(name, known)}" for name in unknown))


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    by_last = {one.rsplit(".", 1)[-1]: one for one in known}
    lower = name.lower()
    like = get_close_matches(lower, known, n=1, cutoff=0.75)
    # The group was left out or is another one, as in `device` or `reasoner.transport`.
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
