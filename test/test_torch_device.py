import os

import pytest
import torch

from reasonseg_ros.errors import ConfigError
from reasonseg_ros.torch_device import choose_device, choose_dtype, computes_bfloat16, use_threads


def test_auto_takes_what_is_there() -> None:
    device = choose_device("auto")
    assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_dtype("auto", torch.device("cpu")) is torch.float32
    assert choose_dtype("auto", torch.device("cuda")) is torch.bfloat16


def test_a_named_dtype_is_taken_on_any_device() -> None:
    assert choose_dtype("float16", torch.device("cpu")) is torch.float16


@pytest.mark.parametrize("name", ["toaster", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_with_its_name(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        choose_device(name)


@pytest.mark.parametrize(
    ("wanted", "variable", "before", "after"),
    [(0, None, 4, 3), (0, None, 2, 2), (0, "4", 4, 4), (2, None, 4, 2), (6, "4", 4, 6)],
)
def test_a_core_is_left_to_the_rest_unless_a_number_is_set(monkeypatch, wanted, variable, before, after) -> None:
    threads = [before]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    use_threads(wanted)
    assert threads[-1] == after


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx2": True, "avx512_bf16": True, "amx_bf16": False}, True),
        ({"architecture": "aarch64", "arm_bf16": True}, True),
        ({"cpu_name": "with bf16 in its name"}, False),
    ],
)
def test_bfloat16_is_used_only_where_the_processor_computes_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert computes_bfloat16(torch.device("cpu")) is expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not computes_bfloat16(torch.device("cpu"))
