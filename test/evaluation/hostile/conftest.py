"""Finished runs."""

import shutil

import pytest

from reasonseg_ros import cli


@pytest.fixture
def run_folder(method, make_bag, samples_of, tmp_path):
    out = tmp_path / "run"
    assert cli.main(["evaluate", str(make_bag([samples_of("a"), samples_of("b")])), "--out", str(out)]) == 0
    return out


@pytest.fixture
def other_folder(run_folder, tmp_path):
    """A copy of the run, to be damaged."""
    shutil.copytree(run_folder, tmp_path / "other")
    return tmp_path / "other"
