"""The injector: which call fails, how, and that nothing is left of it."""

import builtins
import io
import os
import threading

import numpy as np
import pytest

from reasonseg_ros.config import config_from
from reasonseg_ros.config.faults import FAULT_KINDS, FAULT_PORTS, FaultsConfig
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.injection.configured import ALLOWED, configured_fault
from reasonseg_ros.injection.fault import MAKE, Fault, Injector
from reasonseg_ros.injection.files import FILE_PORTS
from reasonseg_ros.injection.ports import METHODS, installed
from reasonseg_ros.methods.settings import check_settings
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter

RGB = np.zeros((8, 8, 3), np.uint8)


def test_every_port_and_kind_of_the_parameters_exists():
    assert {*METHODS, *FILE_PORTS} == set(FAULT_PORTS)
    assert {*MAKE, "hang"} == set(FAULT_KINDS)


@pytest.mark.parametrize(("kind", "error"), [("os_error", OSError), ("memory_error", MemoryError)])
def test_the_nth_call_fails_and_no_other(kind, error):
    with installed(Injector(Fault("encode", 3, kind))) as injector:
        segmenter, outcomes = ScriptedSegmenter(), []
        for _ in range(5):
            try:
                segmenter.encode(RGB)
                outcomes.append("ok")
            except error:
                outcomes.append("failed")
    assert outcomes == ["ok", "ok", "failed", "ok", "ok"]
    assert injector.has_struck and injector.calls["encode"] == 5
    segmenter.encode(RGB)
    assert injector.calls["encode"] == 5, "the counter outlived its `with` statement"


def test_a_repeated_fault_strikes_every_nth_call():
    with installed(Injector(Fault("encode", 2, "os_error", repeat=True))):
        segmenter, failed = ScriptedSegmenter(), []
        for call in range(1, 7):
            try:
                segmenter.encode(RGB)
            except OSError:
                failed.append(call)
    assert failed == [2, 4, 6]


def test_a_hang_ends_by_itself_or_when_it_is_released():
    injector = Injector(Fault("encode", 1, "hang", hang_s=60.0))
    done = threading.Event()

    def encode():
        ScriptedSegmenter().encode(RGB)
        done.set()

    with installed(injector):
        thread = threading.Thread(target=encode)
        thread.start()
        assert not done.wait(0.05)
    thread.join(50)
    assert done.is_set()
    with installed(Injector(Fault("encode", 1, "hang", hang_s=0.01))):
        ScriptedSegmenter().encode(RGB)


@pytest.mark.parametrize("port", FILE_PORTS)
@pytest.mark.parametrize("call", [1, 2])
def test_files_below_the_folder_fail_whole_and_others_are_left_alone(tmp_path, port, call):
    functions = io.open, builtins.open, os.fsync, os.replace
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    written, named = [], []
    with installed(Injector(Fault(port, call, "os_error")), inside) as injector:
        if port in ("open", "write"):
            (outside / "file").write_text("not counted")
        for number in range(3):
            try:
                with whole_file(inside / str(number)) as file:
                    file.write("text")
                    file.flush()
                    os.fsync(file.fileno())
                written.append(number)
            except OSError as error:
                named.append(error.filename)
    assert written == [number for number in range(3) if number != call - 1] and injector.has_struck
    assert named == [str(inside / str(call - 1))]
    assert sorted(path.name for path in inside.iterdir()) == [str(number) for number in written]
    assert (io.open, builtins.open, os.fsync, os.replace) == functions


def test_without_a_fault_all_ports_are_counted(tmp_path):
    with installed(Injector(), tmp_path) as injector:
        ScriptedSegmenter().encode(RGB)
        with whole_file(tmp_path / "a") as file:
            file.write("text")
    assert dict(injector.calls) == {"encode": 1, "open": 1, "write": 1, "replace": 1}


def test_a_fault_is_refused_unless_the_environment_allows_it(monkeypatch):
    config = config_from({"faults.port": "encode"})
    monkeypatch.delenv(ALLOWED, raising=False)
    with pytest.raises(ConfigError, match=f"needs|set {ALLOWED}=allow"):
        check_settings(config)
    with pytest.raises(ConfigError, match="fail on purpose"), configured_fault(config.faults):
        pass
    monkeypatch.setenv(ALLOWED, "allow")
    check_settings(config)
    with configured_fault(config.faults), pytest.raises(RuntimeError, match="injected fault"):
        ScriptedSegmenter().encode(RGB)


def test_nothing_is_touched_by_default(monkeypatch):
    encode = ScriptedSegmenter.encode
    with configured_fault(FaultsConfig()):
        assert ScriptedSegmenter.encode is encode


@pytest.mark.parametrize("values", [("nowhere", 1, "hang"), ("encode", 0, "hang"), ("encode", 1, "flood")])
def test_a_fault_that_cannot_be_is_refused(values):
    with pytest.raises(ValueError, match="no such fault"):
        Fault(*values)
