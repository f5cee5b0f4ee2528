"""Checks of the machine: shared memory, GPU, runtimes, disk and clock."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from reasonseg_ros.doctor.finding import Finding, Wanted, fault, ok, warning
from reasonseg_ros.doctor.software import DEFAULT_MIDDLEWARE
from reasonseg_ros.engine.gpu import Gpu, gpus
from reasonseg_ros.errors import ModelError

MIB, GB = 2**20, 1e9
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
PROFILE_REMEDY = "set FASTRTPS_DEFAULT_PROFILES_FILE to config/fastdds_shm.xml for camera and node (docs/robot.md)"
SEGMENT_BYTES = 32 * MIB
"""Segment size in config/fastdds_shm.xml, per process."""
PROCESSES = 2
"""The camera driver and the node."""


@dataclass(frozen=True)
class SharedMemoryFacts:
    """`segment_bytes`: segment size in the profile; 0 without a profile, -1 if the file cannot be read."""

    middleware: str
    free_bytes: int
    total_bytes: int
    profile: str = ""
    segment_bytes: int = 0


def look_at_shared_memory(_: Wanted) -> SharedMemoryFacts:
    usage = shutil.disk_usage("/dev/shm") if Path("/dev/shm").is_dir() else None
    profile = next((os.environ[name] for name in PROFILE_VARIABLES if os.environ.get(name)), "")
    return SharedMemoryFacts(
        os.environ.get("RMW_IMPLEMENTATION", "") or DEFAULT_MIDDLEWARE,
        usage.free if usage else 0,
        usage.total if usage else 0,
        profile,
        segment_bytes(Path(profile)) if profile else 0,
    )


def segment_bytes(profile: Path) -> int:
    """The largest `segment_size` in a Fast DDS profile; 0 if it has none, -1 if the file cannot be read."""
    try:
        sizes = [element.text for element in ElementTree.parse(profile).iter() if element.tag.endswith("segment_size")]
        return max((int(size or 0) for size in sizes), default=0)
    except (OSError, ValueError, ElementTree.ParseError):
        return -1


def judge_shared_memory(facts: SharedMemoryFacts) -> list[Finding]:
    stated = f"/dev/shm: {facts.free_bytes / MIB:.0f} of {facts.total_bytes / MIB:.0f} MiB free"
    if not facts.middleware.startswith("rmw_fastrtps"):
        return [ok(f"{stated}; {facts.middleware} has its own settings for large images")]
    if facts.segment_bytes < 0:
        return [fault(f"the profile {facts.profile} cannot be read as XML", PROFILE_REMEDY)]
    needed = PROCESSES * max(facts.segment_bytes, SEGMENT_BYTES)
    if facts.free_bytes < needed:
        text = f"{stated}; the camera's and the node's process need {needed / MIB:.0f} MiB for images"
        return [warning(text, "give the container more (`--ipc=host`, or `--shm-size=512m`)")]
    if not facts.profile:
        return [warning(f"{stated}; no Fast DDS profile, so large best-effort images are lost", PROFILE_REMEDY)]
    if facts.segment_bytes < SEGMENT_BYTES:
        text = f"the profile {facts.profile} has segments of {facts.segment_bytes / MIB:.1f} MiB"
        return [warning(text, PROFILE_REMEDY)]
    return [ok(f"{stated}; segments of {facts.segment_bytes / MIB:.0f} MiB by {facts.profile}")]


@dataclass(frozen=True)
class GpuFacts:
    """`driver`: version, empty without an NVIDIA driver. `torch_cuda`: CUDA version that torch was built for."""

    gpus: tuple[Gpu, ...]
    driver: str = ""
    torch_cuda: str = ""
    wanted: Mapping[str, str] = field(default_factory=dict)


def look_at_gpu(wanted: Wanted) -> GpuFacts:
    config = wanted.config
    devices = {"segmenter.device": config.segmenter.device}
    if config.reasoner.backend != "server":
        devices["reasoner.device"] = config.reasoner.device
    return GpuFacts(gpus(), _driver(), _torch_cuda(), devices)


def _driver() -> str:
    try:
        match = re.search(r"(\d+\.\d+(\.\d+)?)", Path("/proc/driver/nvidia/version").read_text())
    except OSError:
        return ""
    return match[1] if match else "of an unknown version"


def _torch_cuda() -> str:
    """The version from a file of torch, because importing torch takes seconds."""
    spec = find_spec("torch")
    if spec is None or not spec.origin:
        return ""
    try:
        text = Path(spec.origin).with_name("version.py").read_text()
    except OSError:
        return ""
    match = re.search(r"^cuda\b[^=]*= *'([\d.]+)'", text, re.MULTILINE)
    return match[1] if match else ""


def judge_gpu(facts: GpuFacts) -> list[Finding]:
    on_gpu = [f"{name} = {value}" for name, value in facts.wanted.items() if value.startswith("cuda")]
    if not facts.gpus:
        reason = f"the driver {facts.driver} is loaded, but no GPU is usable" if facts.driver else "no NVIDIA GPU"
        if on_gpu:
            return [fault(f"{reason}; {', '.join(on_gpu)}", "set the devices to auto or cpu, or check `nvidia-smi`")]
        if facts.driver:
            remedy = "check `nvidia-smi` and CUDA_VISIBLE_DEVICES; in a container, run it with `--gpus all`"
            return [warning(reason, remedy)]
        return [ok(f"{reason}: models run on the CPU")]
    found = []
    for gpu in facts.gpus:
        memory = f"{gpu.memory_bytes / 2**30:.1f} GiB, compute capability {gpu.capability}"
        found.append(ok(f"cuda:{gpu.index} {gpu.name}, {memory}, driver {facts.driver or '?'} for CUDA {gpu.cuda}"))
    supported = facts.gpus[0].cuda
    if facts.torch_cuda and int(facts.torch_cuda.split(".")[0]) > int(supported.split(".")[0]):
        text = f"torch is built for CUDA {facts.torch_cuda}, but the driver supports up to {supported}"
        found.append(fault(text, "update the driver, or install torch for that CUDA"))
    for name, value in facts.wanted.items():
        number = value.partition(":")[2]
        if value.startswith("cuda") and number.isdigit() and int(number) >= len(facts.gpus):
            found.append(
                fault(
                    f"{name} = {value}, but this machine has {len(facts.gpus)} GPUs", "set the index of an existing GPU"
                )
            )
    return found


@dataclass(frozen=True)
class RuntimeFacts:
    """`onnxruntime`: version, empty without it. `tensorrt`: versions by flavour. `backend`: segmenter.backend."""

    onnxruntime: str
    providers: tuple[str, ...]
    tensorrt: Mapping[str, str]
    backend: str


def look_at_runtimes(wanted: Wanted) -> RuntimeFacts:
    try:
        from reasonseg_ros.engine.onnxruntime import PROVIDERS, has_provider, version

        installed, providers = version(), tuple(name for name in PROVIDERS if has_provider(name))
    except ImportError:
        installed, providers = "", ()
    return RuntimeFacts(installed, providers, _tensorrt_versions(), wanted.config.segmenter.backend)


def _tensorrt_versions() -> dict[str, str]:
    from reasonseg_ros.engine.tensorrt import FLAVOURS, library

    found = {}
    for flavour in FLAVOURS:
        try:
            found[flavour] = str(library(flavour).__version__)
        except ModelError:
            continue
    return found


def judge_runtimes(facts: RuntimeFacts) -> list[Finding]:
    stated = "no ONNX Runtime"
    if facts.onnxruntime:
        stated = f"ONNX Runtime {facts.onnxruntime} on {', '.join(facts.providers)}"
    versions = [f"{flavour} {version}" for flavour, version in facts.tensorrt.items()]
    found = [ok("; ".join([stated, *versions]))]
    if facts.backend == "onnxruntime_tensorrt" and "tensorrt" not in facts.providers:
        remedy = "install onnxruntime-gpu with TensorRT, or set segmenter.backend to auto"
        found.append(fault("segmenter.backend = onnxruntime_tensorrt, but ONNX Runtime lacks this provider", remedy))
    if facts.backend in ("tensorrt", "tensorrt_rtx") and facts.backend not in facts.tensorrt:
        remedy = "install it (docs/jetson.md), or set segmenter.backend to auto"
        found.append(fault(f"segmenter.backend = {facts.backend}, which is not installed", remedy))
    return found


LITTLE_BYTES, TOO_LITTLE_BYTES = 5 * GB, 0.2 * GB


@dataclass(frozen=True)
class DiskFacts:
    """Path and free bytes of each location, by its use."""

    free: Mapping[str, tuple[str, int]]


def look_at_disk(_: Wanted) -> DiskFacts:
    places = {"temporary files": Path(tempfile.gettempdir()), "models and engines": hub_cache()}
    return DiskFacts({use: (str(path), _free_bytes(path)) for use, path in places.items()})


def hub_cache() -> Path:
    """The folder that the hub's client uses as cache, determined without importing the client."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home, "hub")).expanduser()


def _free_bytes(path: Path) -> int:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def judge_disk(facts: DiskFacts) -> list[Finding]:
    found = []
    for use, (path, free) in facts.free.items():
        text = f"{free / GB:.1f} GB free for {use} ({path})"
        if free < TOO_LITTLE_BYTES:
            found.append(fault(text, "free space there"))
        elif free < LITTLE_BYTES:
            found.append(warning(text, "free space there before a model is fetched or a bag recorded"))
        else:
            found.append(ok(text))
    return found


@dataclass(frozen=True)
class ClockFacts:
    """`synchronised`: as the kernel reports; None if it does not."""

    synchronised: bool | None


def look_at_clock(_: Wanted) -> ClockFacts:
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))  # modes = 0: nothing is changed
    except (OSError, AttributeError):
        return ClockFacts(None)
    return ClockFacts(None if state < 0 else state != 5)  # TIME_ERROR


def judge_clock(facts: ClockFacts) -> list[Finding]:
    if facts.synchronised is None:
        return [ok("the kernel does not say whether the clock is synchronised")]
    if not facts.synchronised:
        text = "the clock is not synchronised: stamps of images and transforms from other machines may not match"
        return [warning(text, "synchronise all machines of the robot (chrony or PTP)")]
    return [ok("the clock is synchronised")]
