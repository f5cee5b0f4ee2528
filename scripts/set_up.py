"""Set-up on a machine without ROS 2: `.venv` with libraries, the messages built into it, `.venv/bin/reasonseg`.

Run by the Makefile with the system's Python and a size: `demo` (what the embedded models need), `models` (also torch
and transformers, for published checkpoints), or `test` (everything). A larger size adds to a smaller one. A set-up that
was stopped continues with the next run. Stamps in `.venv` record what is done, so a second run downloads and builds
nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOG = ROOT / "build" / "set_up.log"
REQUIREMENTS = (
    "pyproject.toml",
    "setup.py",
    "requirements/ros.txt",
    "requirements/sam2.txt",
    "requirements/constraints.txt",
)
MESSAGES = (
    "msg",
    "srv",
    "action",
    "cmake",
    "config",
    "foxglove",
    "launch",
    "rviz",
    "CMakeLists.txt",
    "package.xml",
    "scripts/evaluate",
    "scripts/node",
    "scripts/reasonseg",
    "reasonseg_ros/__init__.py",
    "requirements/ros.txt",
)
SIZES = {
    "demo": "embedded,console",
    "models": "embedded,models,evaluation,console",
    "test": "embedded,models,evaluation,export,mcp,tabletop,training,console,tensorrt-rtx,test,lint",
}
"""Extras of each size, from the smallest to the largest; each holds those before it."""
DISK_GB = {"demo": 2, "models": 10, "test": 12}
"""Free space at the start: the libraries, their unpacked downloads beside them. pip's cache comes on top."""
SIZE_WORDS = {"demo": "0.7 GB; about a minute", "models": "6 GB; some minutes", "test": "8 GB; some minutes"}
PROGRESS_S = 20


class SetUpError(Exception):
    """A reason why the set-up cannot go on, with its remedy."""


def environment() -> dict[str, str]:
    """The environment without another ROS installation or virtual environment, temporary files beside `.venv`."""
    foreign = (
        "PYTHONPATH",
        "PYTHONHOME",
        "VIRTUAL_ENV",
        "LD_LIBRARY_PATH",
        "CMAKE_PREFIX_PATH",
        "COLCON_PREFIX_PATH",
        "ROS_DISTRO",
        "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
    )
    values = {name: value for name, value in os.environ.items() if name not in foreign}
    values.update(
        PATH=f"{VENV / 'bin'}{os.pathsep}{values['PATH']}",
        AMENT_PREFIX_PATH=str(VENV),
        TMPDIR=str(ROOT / "build" / "tmp"),
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        SAM2_BUILD_CUDA="0",
    )
    return values


def check_machine() -> None:
    """Everything that would break later, before anything is installed. Raises SetUpError."""
    # CMake lists, shebang lines and search paths each break on some of the others.
    if wrong := re.sub(r"[A-Za-z0-9_./+~@,=-]", "", str(ROOT)):
        raise SetUpError(
            f"the path {str(ROOT)!r} holds {wrong[0]!r}, which CMake or a script's first line cannot "
            "take; move the repository to a path of plain letters, digits and . _ + ~ @ , = -"
        )
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        raise SetUpError(
            f"this is Python {sys.version_info[0]}.{sys.version_info[1]}, and the ROS 2 wheels are for "
            "3.10 to 3.12; install one of them and run `make PYTHON=python3.12 ...`"
        )
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        raise SetUpError("this Python cannot make virtual environments; run `sudo apt install python3-venv`") from error
    for variable, names in (("CC", ("cc", "gcc", "clang")), ("CXX", ("c++", "g++", "clang++"))):
        candidates = (os.environ[variable].split()[0],) if os.environ.get(variable, "").strip() else names
        if not any(shutil.which(name) for name in candidates):
            raise SetUpError(
                f"no C and C++ compiler ({', '.join(candidates)} not found), which the messages need; "
                "run `sudo apt install g++`"
            )
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        raise SetUpError(
            f"no Python.h in {sysconfig.get_path('include')}, which the messages need; "
            "run `sudo apt install python3-dev`"
        )


def fingerprint(*names: str) -> str:
    """Changes with the place of the checkout, the Python and the contents of these files and folders."""
    digest = hashlib.sha256(f"{ROOT} {sys.version_info[:2]}".encode())
    for name in names:
        top = ROOT / name
        files = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
        for path in files:
            if "__pycache__" not in path.parts:
                digest.update(f"\n{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def is_done(stamp: str, *names: str) -> bool:
    path = VENV / stamp
    return path.is_file() and path.read_text(encoding="utf-8") == fingerprint(*names)


def run(*command: str | Path) -> None:
    """Run with the output in the log; progress now and then. Raises SetUpError with the log's end."""
    start = shown = time.monotonic()
    with LOG.open("ab") as log:
        log.write(f"\n$ {' '.join(map(str, command))}\n".encode())
        log.flush()
        begin = log.tell()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                time.sleep(0.1)
                if time.monotonic() - shown > PROGRESS_S:
                    shown = time.monotonic()
                    print(f"    {shown - start:.0f} s: {last_line(begin)}", flush=True)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        with LOG.open("rb") as log:
            log.seek(begin)
            tail = log.read().decode(errors="replace").splitlines()[-25:]
        print("\n".join(tail), file=sys.stderr)
        raise SetUpError(
            f"`{' '.join(map(str, command[:4]))} ...` ended with status {process.returncode}; "
            f"its last lines are above, all of them in {LOG}"
        )


def last_line(begin: int) -> str:
    with LOG.open("rb") as log:
        log.seek(max(begin, LOG.stat().st_size - 4096))
        lines = [line for line in log.read().decode(errors="replace").splitlines() if not line.startswith("WARNING")]
    return lines[-1].strip()[:100] if lines else "starting"


def stamp_of(size: str) -> str:
    return f"libraries-{size}.stamp"


def has_libraries(size: str) -> bool:
    """Whether this size or a larger one is installed."""
    sizes = list(SIZES)
    return any(is_done(stamp_of(one), *REQUIREMENTS) for one in sizes[sizes.index(size) :])


def install_libraries(size: str) -> None:
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if free_gb < DISK_GB[size]:
        raise SetUpError(
            f"{free_gb:.1f} GB free at {ROOT}, and the libraries with their downloads take up to {DISK_GB[size]:g} GB "
            "while they are installed; free some space"
        )
    if not has_pip() or not (VENV / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}").is_dir():
        print("[1/3] making .venv", flush=True)
        run(sys.executable, "-m", "venv", "--clear", VENV)
    print(f"[2/3] installing the libraries into .venv ({SIZE_WORDS[size]})", flush=True)
    # Editable by a path file: the sources here are the ones that run, and the generated messages join them.
    pip_install(
        "-c", "requirements/constraints.txt", "-r", "requirements/ros.txt", "-e", f".[{SIZES[size]}]",
        "--config-settings", "editable_mode=compat",
    )  # fmt: skip
    if size == "test":
        # By itself, as it needs the installed torch to build; in isolation pip would download a second one for that.
        pip_install("--no-build-isolation", "--no-deps", "-r", "requirements/sam2.txt")
    (VENV / stamp_of(size)).write_text(fingerprint(*REQUIREMENTS), encoding="utf-8")


def pip_install(*arguments: str) -> None:
    run(PYTHON, "-m", "pip", "install", "--progress-bar", "off", *arguments)


def has_pip() -> bool:
    """Whether `.venv` is here, whole and not moved from elsewhere."""
    script = VENV / "bin" / "pip"
    if not (PYTHON.exists() and script.exists() and f"#!{VENV}/" in script.read_text(encoding="utf-8")):
        return False
    check = subprocess.run([PYTHON, "-m", "pip", "--version"], env=environment(), capture_output=True, check=False)
    return check.returncode == 0


def build_messages() -> None:
    print("[3/3] building the messages into .venv", flush=True)
    build = ROOT / "build" / "messages"
    cache = build / "CMakeCache.txt"
    if cache.is_file() and f"CMAKE_HOME_DIRECTORY:INTERNAL={ROOT}\n" not in cache.read_text(encoding="utf-8"):
        shutil.rmtree(build)  # of a checkout that has been moved
    cmake = VENV / "bin" / "cmake"
    run(
        cmake,
        "-G",
        "Ninja",
        "-S",
        ROOT,
        "-B",
        build,
        f"-DCMAKE_PREFIX_PATH={VENV}",
        f"-DCMAKE_INSTALL_PREFIX={VENV}",
        f"-DPython3_EXECUTABLE={PYTHON}",
        f"-DCMAKE_PROJECT_INCLUDE={ROOT / 'cmake/relocate_wheels.cmake'}",
        "-DBUILD_TESTING=OFF",
        "-DEDITABLE=ON",
    )
    run(cmake, "--build", build, "--target", "install")
    (VENV / "messages.stamp").write_text(fingerprint(*MESSAGES), encoding="utf-8")


def set_up(size: str) -> None:
    check_machine()
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "COLCON_IGNORE").touch()
    with (ROOT / "build" / "set_up.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # `make demo` and `make test` at once set up once
        shutil.rmtree(ROOT / "build" / "tmp", ignore_errors=True)  # what an interrupted run left
        (ROOT / "build" / "tmp").mkdir()
        if not has_libraries(size):
            LOG.unlink(missing_ok=True)
            install_libraries(size)
        if not is_done("messages.stamp", *MESSAGES):
            build_messages()
            print("set-up done", flush=True)


if __name__ == "__main__":
    try:
        set_up(sys.argv[1] if len(sys.argv) > 1 else "test")
    except SetUpError as error:
        sys.exit(f"set-up: {error}")
    except KeyboardInterrupt:
        print("\nset-up: interrupted; the next run goes on from here", file=sys.stderr)
        sys.exit(130)
