"""The settings of the reasoner, the segmenter and the tracker."""

from __future__ import annotations

from dataclasses import dataclass

from reasonseg_ros.config.setting import setting

ENGINE_BACKENDS = ("onnxruntime", "onnxruntime_tensorrt", "tensorrt", "tensorrt_rtx")
ENGINE_BUILDS = ("never", "if_missing", "force")


@dataclass(frozen=True)
class ReasonerConfig:
    backend: str = setting(
        "auto",
        "where the reasoner runs: in this process with torch (local) or without it (onnxruntime, for exported "
        "checkpoints on the CPU), or on an OpenAI-compatible server (server); auto is onnxruntime if the checkpoint "
        "has graphs, else local",
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
        "parse answers like the published scoring script of the dialect, without repair; for evaluations",
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
        "number of images whose key-value cache is kept for further questions; 0: none",
        0,
        64,
        read_only=True,
    )
    kept_mb: int = setting(512, "maximum memory for these caches, MB", 1, 1_000_000, read_only=True)
    threads: int = setting(
        0,
        "CPU threads; 0: with torch OMP_NUM_THREADS if set, else one less than there are cores, which leaves one for "
        "the segmenter; with onnxruntime one for the text and one per core for the image",
        0,
        256,
        read_only=True,
    )
    server_url: str = setting("http://127.0.0.1:8000/v1", "base address of the server", read_only=True)
    server_model: str = setting(
        "",
        "the server's name for the model; empty: the card's source, or the card's name if the source is a folder",
        read_only=True,
    )
    server_key_variable: str = setting("", "environment variable with the server's key", read_only=True)
    server_logprobs: bool = setting(
        True,
        "ask the server for the 20 likeliest tokens at each position, for the entropy that the confidence needs",
        read_only=True,
    )
    confidence_file: str = setting(
        "",
        "file with the calibration of the confidence, from `reasonseg calibrate`; empty: confidence.json beside the "
        "checkpoint; a server has none",
        read_only=True,
    )
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
        "mask refinement: outlines snap to image edges (edges), stray parts are removed by negative points (points); "
        "auto: as in the model card",
        choices=("auto", "none", "edges", "points", "both"),
        read_only=True,
    )
    encode_beside: bool = setting(
        True,
        "encode the image while the reasoner runs, even if no mask will be needed; false: encode afterwards, if needed",
    )
    kept_frames: int = setting(
        2, "number of images whose features are cached for further questions", 1, 64, read_only=True
    )
    keep_raw_mask: bool = setting(False, "also publish the mask before clean-up")


@dataclass(frozen=True)
class SelectionConfig:
    model: str = setting(
        "tabletop", "for llm_seg: folder of a trained selection, or tabletop for the embedded one", read_only=True
    )


@dataclass(frozen=True)
class TrackerConfig:
    mode: str = setting(
        "auto",
        "track targets with SAM2's memory (memory), or by prompting with the last mask's box and point (reprompt), "
        "which is faster and works with any checkpoint; auto is memory if the checkpoint supports it",
        choices=("auto", "memory", "reprompt"),
        read_only=True,
    )
    lost_after_s: float = setting(3.0, "a target that is not visible for this time is lost, seconds", 0.0, 3600.0)
    overlap: bool = setting(
        False, "masks of tracked targets may overlap; false: each pixel belongs to the most confident one"
    )
