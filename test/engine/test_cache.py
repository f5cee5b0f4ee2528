from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reasonseg_ros.engine.cache import EngineCache, EngineKey
from reasonseg_ros.errors import ConfigError

KEY = EngineKey("ab" * 32, "tensorrt_rtx", "1.7", ("8.6", "8.9"), "", "13", "x86_64", {"N": (1, 1, 8)}, {"level": 3})
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path / "engines")


def fail() -> bytes:
    raise AssertionError("built although it is there")


def test_an_engine_is_built_once_and_then_found(cache: EngineCache) -> None:
    entry = cache.get_or_build(KEY, "small-encoder", lambda: b"plan")
    again = EngineCache(cache.folder).get_or_build(KEY, "small-encoder", fail)
    assert again == entry
    assert again.read() == b"plan"
    assert again.name.startswith("small-encoder-")
    assert [one.name for one in cache.entries()] == [entry.name]


@pytest.mark.parametrize(
    "change",
    [
        {"onnx_sha256": "cd" * 32}, {"flavour": "tensorrt"}, {"version": "1.8"}, {"capabilities": ("12.0",)},
        {"gpu": "RTX"}, {"cuda_major": "12"}, {"machine": "aarch64"}, {"sizes": {"N": (1, 1, 4)}},
        {"builder": {"level": 5}}, {"export_version": 99},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_whatever_changes_in_the_key_needs_another_engine(cache: EngineCache, change: dict) -> None:
    cache.get_or_build(KEY, "encoder", lambda: b"old")
    other = replace(KEY, **change)
    assert cache.find(other) is None
    assert cache.get_or_build(other, "encoder", lambda: b"new").read() == b"new"
    assert cache.find(KEY).read() == b"old"


def test_an_engine_for_several_capabilities_serves_each(cache: EngineCache) -> None:
    cache.get_or_build(KEY, "encoder", lambda: b"both")
    assert cache.find(replace(KEY, capabilities=("8.9",))).read() == b"both"
    assert cache.find(replace(KEY, capabilities=("8.6", "12.0"))) is None


def test_force_builds_again(cache: EngineCache) -> None:
    cache.get_or_build(KEY, "encoder", lambda: b"old")
    assert cache.get_or_build(KEY, "encoder", lambda: b"new", force=True).read() == b"new"
    assert len(cache.entries()) == 1


@pytest.mark.parametrize("damage", ["cut", "gone", "description"])
def test_a_damaged_engine_is_built_again(cache: EngineCache, damage: str) -> None:
    entry = cache.get_or_build(KEY, "encoder", lambda: b"plan")
    if damage == "cut":
        entry.path.write_bytes(b"pl")
    elif damage == "gone":
        entry.path.unlink()
    else:
        entry.path.with_suffix(".json").write_text('{"key": {"onnx_sha256"')
    assert cache.find(KEY) is None
    assert cache.get_or_build(KEY, "encoder", lambda: b"plan").read() == b"plan"
    assert cache.find(KEY) is not None


def test_a_build_that_fails_leaves_nothing_and_the_next_one_works(cache: EngineCache) -> None:
    def broken() -> bytes:
        raise ValueError("no tactic")

    with pytest.raises(ValueError, match="no tactic"):
        cache.get_or_build(KEY, "encoder", broken)
    assert not [path for path in cache.folder.iterdir() if not path.name.endswith(".lock")]
    assert cache.get_or_build(KEY, "encoder", lambda: b"plan").read() == b"plan"


def test_the_check_is_remembered(cache: EngineCache) -> None:
    entry = cache.get_or_build(KEY, "encoder", lambda: b"plan")
    assert entry.check == {}
    cache.record_check(entry, {"mean_mask_iou": 0.999})
    assert cache.find(KEY).check == {"mean_mask_iou": 0.999}


def test_engines_that_were_not_used_for_longest_go_first(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, limit_gib=250 / 2**30)
    for age_s, name in ((300, "aa"), (200, "bb")):
        entry = cache.get_or_build(replace(KEY, onnx_sha256=name), name, lambda: bytes(100))
        os.utime(entry.path, (entry.path.stat().st_atime - age_s, entry.path.stat().st_mtime - age_s))
    cache.find(replace(KEY, onnx_sha256="aa"))  # used just now
    cache.get_or_build(replace(KEY, onnx_sha256="cc"), "cc", lambda: bytes(100))
    assert {entry.key.onnx_sha256 for entry in cache.entries()} == {"aa", "cc"}
    assert {path.suffix for path in tmp_path.iterdir() if not path.name.startswith(".")} == {".engine", ".json"}


def test_an_engine_larger_than_the_limit_is_kept_while_it_is_the_one_in_use(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path, limit_gib=50 / 2**30)
    assert cache.get_or_build(KEY, "encoder", lambda: bytes(100)).read() == bytes(100)


def test_removing_leaves_no_file_of_the_engine(cache: EngineCache) -> None:
    entry = cache.get_or_build(KEY, "encoder", lambda: b"plan")
    cache.runtime_cache(entry).write_bytes(b"compiled")
    cache.remove(entry)
    assert cache.entries() == []
    assert not [path for path in cache.folder.iterdir() if not path.name.startswith(".")]


BUILDER = """
import sys, time
from pathlib import Path
from reasonseg_ros.engine.cache import EngineCache
sys.path.insert(0, sys.argv[2])
from test_cache import KEY

folder = Path(sys.argv[1])

def build():
    with (folder / "builds.txt").open("a") as log:
        log.write("built\\n")
    (folder / "started").touch()
    while not (folder / "go on").exists():
        time.sleep(0.01)
    return b"plan"

entry = EngineCache(folder / "engines").get_or_build(
    KEY, "encoder", build, waiting=lambda: (folder / "waits").touch()
)
print(entry.read().decode())
"""


def test_two_processes_that_start_at_once_build_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILDER, str(tmp_path), str(Path(__file__).parent)]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for name in ("started", "waits"):  # one builds, and the other one is seen to wait for it
            subprocess.run(["timeout", "60", "sh", "-c", f"until [ -e {name} ]; do sleep 0.05; done"],
                           cwd=tmp_path, check=True)  # fmt: skip
        (tmp_path / "go on").touch()
        assert [process.communicate(timeout=60)[0].strip() for process in processes] == ["plan", "plan"]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert (tmp_path / "builds.txt").read_text() == "built\n"


def test_a_file_of_another_program_is_left_alone(cache: EngineCache) -> None:
    cache.get_or_build(KEY, "encoder", lambda: b"plan")
    (cache.folder / "other.json").write_text(json.dumps({"not": "ours"}))
    assert len(cache.entries()) == 1
    assert (cache.folder / "other.json").is_file()


def test_the_cache_is_private_to_its_user(cache: EngineCache) -> None:
    entry = cache.get_or_build(KEY, "encoder", lambda: b"plan")
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    for path in cache.folder.iterdir():
        assert path.stat().st_uid == os.geteuid() and not path.stat().st_mode & 0o022
    cache.folder.chmod(0o755)  # made by an older version
    assert cache.find(KEY) == entry
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700


def test_a_cache_that_others_may_write_is_refused(cache: EngineCache, tmp_path: Path) -> None:
    cache.get_or_build(KEY, "encoder", lambda: b"plan")
    cache.folder.chmod(0o777)
    for use in (cache.entries, lambda: cache.find(KEY), lambda: cache.get_or_build(KEY, "encoder", fail)):
        with pytest.raises(ConfigError, match="can be written by others; remove it, or set XDG_CACHE_HOME"):
            use()


def test_a_cache_of_another_user_is_refused(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.get_or_build(KEY, "encoder", lambda: b"plan")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ConfigError, match="belongs to user"):
        cache.find(KEY)


def test_a_planted_folder_is_not_followed(cache: EngineCache, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    cache.folder.parent.mkdir(parents=True, exist_ok=True)
    cache.folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a symbolic link"):
        cache.get_or_build(KEY, "encoder", fail)
    assert not any((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("suffix", [".engine", ".json"])
def test_planted_files_are_not_followed_but_built_again(cache: EngineCache, tmp_path: Path, suffix: str) -> None:
    entry = cache.get_or_build(KEY, "encoder", lambda: b"plan")
    planted = tmp_path / "planted"
    planted.write_bytes(entry.path.with_suffix(suffix).read_bytes())
    entry.path.with_suffix(suffix).unlink()
    entry.path.with_suffix(suffix).symlink_to(planted)
    before = planted.read_bytes()
    assert cache.find(KEY) is None
    again = cache.get_or_build(KEY, "encoder", lambda: b"new plan")
    assert again.read() == b"new plan" and not again.path.with_suffix(suffix).is_symlink()
    assert planted.read_bytes() == before


def test_a_description_without_end_is_built_again(cache: EngineCache) -> None:
    entry = cache.get_or_build(KEY, "encoder", lambda: b"plan")
    entry.path.with_suffix(".json").write_text("[" * 100_000)
    assert cache.find(KEY) is None
