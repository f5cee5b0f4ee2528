import pytest

from test.recording.boxes import RecordedRobot, black_box, write_box


@pytest.fixture
def box_file(tmp_path):
    return write_box(tmp_path / "blackbox.mcap", black_box())


@pytest.fixture
def recorded_robot(tmp_path):
    robots = []

    def start(folder=None, **more):
        robots.append(RecordedRobot(folder or tmp_path / "boxes", **more))
        return robots[-1]

    yield start
    for robot in robots:
        assert robot.worker.stop()
        assert robot.recorder.close(30)
