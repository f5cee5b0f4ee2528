"""One renderer for all tests of the tabletop, because opening one is slow."""

from collections.abc import Iterator

import pytest

from reasonseg_ros.errors import RenderError
from reasonseg_ros.tabletop.world import World


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    try:
        yield World((320, 240))
    except RenderError as error:
        pytest.skip(str(error))
