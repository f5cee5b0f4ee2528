import pytest
import torch

from reasonseg_ros.errors import ConfigError
from reasonseg_ros.torch_device import choose_device, choose_dtype


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
