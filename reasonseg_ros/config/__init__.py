"""All settings with default, unit and bounds. The node's ROS parameters are generated from them.

A field's metadata has `description` and, if they apply, `minimum`, `maximum`, `choices`, `read_only`.
A read-only value takes effect when the node is configured; the others may change while it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any

from reasonseg_ros.config.faults import FaultsConfig
from reasonseg_ros.config.models import ReasonerConfig, SegmenterConfig, SelectionConfig, TrackerConfig
from reasonseg_ros.config.setting import check, setting
from reasonseg_ros.errors import ConfigError

METHODS = {"seg_zero": "SegZero", "rev_seg": "RevSeg", "llm_seg": "LlmSeg", "rea2_seg": "Rea2Seg"}
"""Class of each method, in the module `reasonseg_ros.methods.<name>`."""


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
        "removed, P applies; auto: rectified if the image topic has a part image_rect*, rect or rectified",
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
        False, "accept depth whose frame_id differs from the image's, for depth that is registered to the image"
    )
    info_max_age_s: float = setting(
        2.0,
        "maximum stamp difference of an image and its camera_info, seconds; 0: no limit; not checked if "
        "camera_info is latched or has no stamp",
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
        "queue",
        "while a question is being answered, a new one waits (queue), cancels all others (replace), or is "
        "refused (refuse)",
        choices=("queue", "replace", "refuse"),
    )
    queue_size: int = setting(8, "maximum number of waiting or watched questions; more are refused", 1, 1000)
    max_characters: int = setting(2000, "maximum length of a question, characters", 1, 100_000)
    frame_wait_s: float = setting(5.0, "maximum wait of a question for an image, seconds", 0.0, 3600.0)
    image_max_age_s: float = setting(
        10.0,
        "maximum age of a question's image, counted from its arrival, seconds; 0: no limit",
        0.0,
        86_400.0,
    )
    watch_period_s: float = setting(5.0, "period after which a watched question is asked again, seconds", 0.1, 3600.0)
    watch_change: float = setting(
        0.0,
        "mean change of the image, as a share of its range, at which a watched question is asked again; 0: never",
        0.0,
        1.0,
    )
    prepare: str = setting(
        "never",
        "idle: while no question runs, prefill and encode the newest image; a question is then about the last "
        "prepared image, if that is not older than prepare_period_s",
        choices=("never", "idle"),
    )
    prepare_period_s: float = setting(1.0, "minimum time between two prepared images, seconds", 0.05, 3600.0)
    hang_s: float = setting(
        300.0,
        "time without a token, step or stage after which a model counts as hanging and all questions end, seconds; "
        "0: never",
        0.0,
        86_400.0,
    )
    ask_again: int = setting(1, "how often a question is asked again if its target is lost", 0, 100)


@dataclass(frozen=True)
class StreamConfig:
    carry: bool = setting(True, "propagate an answer to the newest image before publishing it")
    catch_up_s: float = setting(0.5, "maximum time for propagation, seconds; images are skipped to keep it", 0.0, 60.0)
    buffer_s: float = setting(10.0, "length of the image buffer for late answers, seconds", 0.1, 600.0, read_only=True)
    buffer_hz: float = setting(10.0, "maximum rate of buffered images, Hz", 0.1, 1000.0, read_only=True)
    buffer_mb: int = setting(300, "maximum memory for buffered images, MB", 1, 100_000, read_only=True)
    follow_watched: bool = setting(True, "track the targets of watched questions between two answers")
    follow_hz: float = setting(0.0, "maximum tracking rate, Hz; 0: every image", 0.0, 1000.0, read_only=True)


@dataclass(frozen=True)
class HistoryConfig:
    frames: int = setting(
        0,
        "number of images for a question about what happened, evenly spaced in time; 0: the model card's value",
        0,
        64,
    )
    seconds: float = setting(
        4.0, "look-back window of these images, seconds; stream.buffer_s and stream.buffer_mb limit it too", 0.1, 600.0
    )


@dataclass(frozen=True)
class CandidatesConfig:
    samples: int = setting(
        8, "for rea2_seg: number of sampled answers in addition to the direct one", 0, 64, read_only=True
    )
    temperature: float = setting(1.0, "temperature of sampled answers", 0.05, 5.0)
    seed: int = setting(0, "seed of sampled answers", 0, 1_000_000_000)
    attention: bool = setting(
        True,
        "also take candidates from the attention of the answer's tokens; servers give no attention",
        read_only=True,
    )
    comparison: str = setting(
        "votes",
        "the best candidate is the one that most samples agree with (votes), or that the model scores best "
        "(asked), which takes one reply for each candidate and one for all together",
        choices=("votes", "asked"),
        read_only=True,
    )


@dataclass(frozen=True)
class PointsConfig:
    target_frame: str = setting("", "tf frame of 3D results; empty: the camera's frame", read_only=True)
    transform_wait_s: float = setting(0.05, "maximum wait for the transform of an image, seconds", 0.0, 2.0)
    min_valid_share: float = setting(0.3, "minimum share of the mask with valid depth for a 3D box", 0.0, 1.0)


@dataclass(frozen=True)
class AnswerConfig:
    min_confidence: float = setting(
        -1.0,
        "answers with a lower confidence have the status unsure; 0: no threshold; -1: the threshold of the "
        "checkpoint's calibration, if it has one",
        -1.0,
        1.0,
    )


@dataclass(frozen=True)
class OutputConfig:
    mask_encoding: str = setting("png", "encoding of masks in messages", choices=("png", "rle"))
    overlay_alpha: float = setting(
        0.12, "opacity of the masks in the overlay; low values keep colours recognisable", 0.0, 1.0
    )
    reliability: str = setting(
        "reliable", "quality of service of the published topics", choices=("best_effort", "reliable"), read_only=True
    )
    depth: int = setting(
        10,
        "queue depth of published images, points and markers; answers have a depth of 1 and are latched",
        1,
        1000,
        read_only=True,
    )
    detections_2d: bool = setting(True, "publish ~/detections_2d, if vision_msgs is installed", read_only=True)
    detections_3d: bool = setting(
        True, "publish ~/detections_3d for answers with depth, if vision_msgs is installed", read_only=True
    )
    label_info: bool = setting(
        True, "publish ~/label_info, the names of the label mask's values, if vision_msgs is installed", read_only=True
    )
    annotations: bool = setting(
        True,
        "publish ~/annotations for the image panels of Foxglove and Lichtblick, if foxglove_msgs is installed",
        read_only=True,
    )
    target_pose: bool = setting(
        True, "publish ~/target_pose, the pose of the best target, for answers with depth", read_only=True
    )


@dataclass(frozen=True)
class RecordConfig:
    answers: str = setting(
        "never",
        "answers that are recorded as black boxes, with their images: flagged (by the service ~/flag), failed "
        "(those without an answer, unsure and flagged ones), or all; needs the packages mcap and rosbags",
        choices=("never", "flagged", "failed", "all"),
    )
    folder: str = setting(
        "", "folder of the recordings; empty: $ROS_HOME/reasonseg/NODE, by default below ~/.ros", read_only=True
    )
    max_mb: int = setting(500, "maximum size of all recordings, MB; the oldest are removed", 1, 10_000_000)
    around_s: float = setting(
        1.0, "record images within this time before and after the answered one, seconds", 0.0, 60.0
    )
    around_images: int = setting(4, "maximum number of images in each of these two periods, evenly spaced", 0, 1000)
    kept_answers: int = setting(8, "number of answers kept in memory, so that they can be flagged later", 1, 1000)
    kept_mb: int = setting(200, "maximum memory for these answers with their images, MB", 1, 100_000)


@dataclass(frozen=True)
class Config:
    autostart: bool = setting(True, "configure and activate at start", read_only=True)
    diagnostics_period_s: float = setting(1.0, "period of diagnostics, seconds", 0.1, 60.0, read_only=True)
    method: str = setting(
        "rev_seg",
        "method: seg_zero answers about one image; rev_seg also tracks targets and answers about several "
        "images; llm_seg chooses among masks of everything in the image; rea2_seg compares several candidate answers",
        choices=tuple(METHODS),
        read_only=True,
    )
    reasoner: ReasonerConfig = field(default_factory=ReasonerConfig)
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    tracker: TrackerConfig = field(default_factory=TrackerConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)
    query: QueryConfig = field(default_factory=QueryConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    history: HistoryConfig = field(default_factory=HistoryConfig)
    candidates: CandidatesConfig = field(default_factory=CandidatesConfig)
    points: PointsConfig = field(default_factory=PointsConfig)
    answer: AnswerConfig = field(default_factory=AnswerConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    record: RecordConfig = field(default_factory=RecordConfig)
    faults: FaultsConfig = field(default_factory=FaultsConfig)


def settings(config: Any = None, prefix: str = "") -> Iterator[tuple[str, Field[Any], Any]]:
    """Dotted name, field and value of every setting of `config` (default: the defaults)."""
    config = Config() if config is None else config
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            yield from settings(value, f"{prefix}{item.name}.")
        else:
            yield prefix + item.name, item, value


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
