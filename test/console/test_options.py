import pytest

from reasonseg_ros.console.options import ConsoleOptions
from reasonseg_ros.errors import InvalidInput


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("192.168.1.7", False),
        ("robot", False),
    ],
)
def test_every_address_but_this_machines_own_needs_a_token(host, is_local):
    assert ConsoleOptions(host=host).is_local is is_local


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"port": 70000}, "port 70000"),
        ({"frame_hz": 0.0}, "0 live images"),
        ({"picture_px": 5}, "pictures of 5 pixels"),
    ],
)
def test_values_out_of_bounds_are_refused(values, reason):
    with pytest.raises(InvalidInput, match=reason):
        ConsoleOptions(**values)
