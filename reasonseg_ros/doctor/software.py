"""Checks of Python, of the libraries that the settings need, and of ROS 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

from reasonseg_ros.config import Config
from reasonseg_ros.doctor.finding import Finding, Wanted, fault, ok, warning
from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.model_card import load_card
from reasonseg_ros.reasoner.loading import has_graphs
from reasonseg_ros.segmenter.loading import choose_backend

OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 14)


@dataclass(frozen=True)
class PythonFacts:
    version: tuple[int, int, int]
    executable: str


def look_at_python(_: Wanted) -> PythonFacts:
    return PythonFacts((sys.version_info.major, sys.version_info.minor, sys.version_info.micro), sys.executable)


def judge_python(facts: PythonFacts) -> list[Finding]:
    stated = f"Python {'.'.join(map(str, facts.version))} ({facts.executable})"
    if not OLDEST_PYTHON <= facts.version[:2] <= NEWEST_PYTHON:
        return [fault(stated, "use Python 3.10 to 3.14")]
    return [ok(stated)]


GROUPS: dict[str, tuple[tuple[str, ...], str]] = {
    "core": (("numpy", "cv2", "yaml"), "pip install numpy opencv-python-headless pyyaml"),
    "bags": (("rosbags", "mcap", "lz4", "rich"), "pip install rosbags mcap lz4 rich"),
    "reasoner on ONNX Runtime": (("onnxruntime", "tokenizers", "jinja2"), "pip install 'reasonseg_ros[embedded]'"),
    "segmenter on ONNX Runtime": (("onnxruntime", "filelock", "platformdirs"), "pip install 'reasonseg_ros[engine]'"),
    "models in torch": (
        ("torch", "torchvision", "transformers", "accelerate", "PIL"), "pip install 'reasonseg_ros[models]'"
    ),
    "reasoner on a server": (("PIL",), "pip install 'reasonseg_ros[server]'"),
}  # fmt: skip
"""Groups of modules that are needed together, and the command that installs them."""


@dataclass(frozen=True)
class LibraryFacts:
    """`versions` of the installed modules (`?` if unknown); `needed`: names of the GROUPS that the settings need."""

    versions: Mapping[str, str]
    needed: frozenset[str]


def look_at_libraries(wanted: Wanted) -> LibraryFacts:
    distributions = packages_distributions()
    modules = {module for names, _ in GROUPS.values() for module in names}
    found = {module: _version(distributions.get(module, [])) for module in modules if find_spec(module) is not None}
    return LibraryFacts(found, needed_groups(wanted.config))


def _version(names: list[str]) -> str:
    try:
        return version(names[0])
    except (IndexError, PackageNotFoundError):
        return "?"


def needed_groups(config: Config) -> frozenset[str]:
    """Names of the GROUPS that are needed to load the models of these settings."""
    needed = {"core"}
    try:
        card = load_card(config.reasoner.model, "reasoner")
        if config.reasoner.backend == "server":
            needed.add("reasoner on a server")
        elif config.reasoner.backend == "onnxruntime" or (
            config.reasoner.backend == "auto" and has_graphs(card, config.reasoner)
        ):
            needed.add("reasoner on ONNX Runtime")
        else:
            needed.add("models in torch")
    except ReasonSegError:
        pass  # the check of the models reports it
    try:
        _, folder = choose_backend(load_card(config.segmenter.model, "segmenter"), config.segmenter)
        needed.add("models in torch" if folder is None else "segmenter on ONNX Runtime")
    except ReasonSegError:
        pass
    return frozenset(needed)


def judge_libraries(facts: LibraryFacts) -> list[Finding]:
    found = []
    for group, (modules, install) in GROUPS.items():
        missing = [module for module in modules if module not in facts.versions]
        stated = ", ".join(f"{module} {facts.versions[module]}" for module in modules if module in facts.versions)
        if not missing:
            found.append(ok(f"{group}: {stated}"))
        elif group in facts.needed:
            found.append(fault(f"{group}: no module {', '.join(missing)}", f"run `{install}`"))
        elif group == "bags":
            text = f"{group}: no module {', '.join(missing)}; play, demo and evaluate do not work"
            found.append(warning(text, f"run `{install}`"))
        else:
            found.append(ok(f"{group}: not installed, and these settings do not need it"))
    return found


DEFAULT_MIDDLEWARE = "rmw_fastrtps_cpp"


@dataclass(frozen=True)
class RosFacts:
    """`middlewares`: those installed; `middleware`: the selected one, empty for the default."""

    has_rclpy: bool
    has_messages: bool
    distribution: str = ""
    middleware: str = ""
    middlewares: tuple[str, ...] = ()
    domain: str = ""


def look_at_ros(_: Wanted) -> RosFacts:
    return RosFacts(
        find_spec("rclpy") is not None,
        find_spec("reasonseg_ros.msg") is not None,
        os.environ.get("ROS_DISTRO", ""),
        os.environ.get("RMW_IMPLEMENTATION", ""),
        installed_middlewares(),
        os.environ.get("ROS_DOMAIN_ID", ""),
    )


def installed_middlewares() -> tuple[str, ...]:
    """Names of RMW implementations in the ament index of the prefixes and of the Python environment."""
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    folders = [Path(prefix, "share/ament_index/resource_index/rmw_typesupport") for prefix in prefixes]
    return tuple(sorted({path.name for folder in folders if folder.is_dir() for path in folder.iterdir()}))


def judge_ros(facts: RosFacts) -> list[Finding]:
    if not facts.has_rclpy:
        text = "no ROS 2 (rclpy): `ask` about files and `evaluate` work, the node does not"
        return [warning(text, "source the setup.bash of ROS 2 and of the workspace")]
    found = []
    if not facts.has_messages:
        remedy = "build the workspace (`colcon build`) and source its setup.bash, or run `make setup` in a checkout"
        found.append(fault("ROS 2 is installed, but the messages of reasonseg_ros are missing", remedy))
    if facts.middleware and facts.middlewares and facts.middleware not in facts.middlewares:
        text = f"RMW_IMPLEMENTATION = {facts.middleware}; installed: {', '.join(facts.middlewares)}"
        found.append(fault(text, "install it, or unset RMW_IMPLEMENTATION"))
    if facts.domain and not (facts.domain.isdigit() and int(facts.domain) <= 232):
        found.append(fault(f"ROS_DOMAIN_ID = {facts.domain!r:.40}", "set a whole number, 0 to 101"))
    stated = f"ROS 2 {facts.distribution or 'of an unnamed distribution'}, {facts.middleware or DEFAULT_MIDDLEWARE}"
    return found or [ok(f"{stated}, domain {facts.domain or 0}")]
