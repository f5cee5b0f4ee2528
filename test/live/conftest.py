import pytest

from test.live.robot import Robot


@pytest.fixture
def start():
    robots = []

    def start(query=None, camera=None, **stream):
        robots.append(Robot(query or {}, camera or {}, stream))
        return robots[-1]

    yield start
    for robot in robots:
        assert robot.worker.stop()
