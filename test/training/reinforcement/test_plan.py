"""Settings of training runs that contradict the engine."""

from pathlib import Path

import pytest

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.training.reinforcement.plan import GrpoPlan, RunPlan

FOLDERS = Path("model"), Path("rows"), Path("out")


@pytest.mark.parametrize("kind", [RunPlan, GrpoPlan])
@pytest.mark.parametrize(
    ("name", "value"), [("averaging", 0.9), ("measure_every", 5), ("measured", 7), ("threads", 2)]
)  # fmt: skip
def test_a_setting_that_trl_does_not_have_is_refused(kind, name, value):
    with pytest.raises(InvalidInput, match=f"--{name.replace('_', '-')} has no effect with the engine trl"):
        kind(*FOLDERS, engine="trl", **{name: value})
    assert getattr(kind(*FOLDERS, **{name: value}), name) == value


def test_trl_takes_the_defaults():
    assert RunPlan(*FOLDERS, engine="trl", lora_rank=8).averaging == RunPlan(*FOLDERS).averaging
