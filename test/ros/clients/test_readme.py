"""The README's commands, taken from its text and run in their order."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ros_client import value
from sensor_msgs.msg import Image

from reasonseg_ros.bags import BagReader
from reasonseg_ros.files import resources

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(after):
    """The lines of the first block of code behind that text, without comments."""
    block = README[README.index(after) :].split("```")[1]
    return [shlex.split(line, comments=True) for line in block.splitlines() if line.strip()]


def with_scenes(command, count):
    """The command with fewer scenes, as each takes a third of a second to render and a second to evaluate."""
    at = command.index("--scenes") + 1
    return [*command[:at], count, *command[at + 1 :]]


@pytest.fixture
def run(tmp_path, domain_id):
    """Run one command of the README in an empty folder, as a shell with this environment would."""
    ros2 = shutil.which("ros2")
    programs = {
        "ros2": [ros2] if ros2 else [sys.executable, str(Path(__file__).parents[1] / "ros2.py")],
        "reasonseg": [sys.executable, "-m", "reasonseg_ros.cli"],
    }
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "PYTHONPATH": str(ROOT)}

    def run(command):
        done = subprocess.run(
            [*programs[command[0]], *command[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


def first_image():
    with BagReader(resources.resource("demo/tabletop")) as bag:
        topic = next(name for name, kind in bag.topics.items() if kind == "sensor_msgs/msg/Image")
        return next(bag.messages([topic]))[2]


def test_asking_as_the_readme_says_shows_the_answer(run, start_process, client, tmp_path):
    launch = next(line for line in README.splitlines() if line.startswith("ros2 launch "))
    topic = re.search(r"image_topic:=(\S+)", launch)[1]
    start_process("-m", "reasonseg_ros.ros.node", "--ros-args", "-r", f"image:={topic}")
    seen = first_image()
    camera = client.create_publisher(Image, topic, 5)
    message = Image(encoding=seen.encoding, height=seen.height, width=seen.width, step=seen.step)
    message.data = seen.data.tobytes()
    message.header.stamp.sec = 5
    client.diagnostic("node", lambda status: value(status, "state") == "active", timeout_s=120)
    client.create_timer(0.1, lambda: camera.publish(message))
    client.until(lambda: camera.get_subscription_count())
    client.diagnostic("camera", lambda status: int(value(status, "received") or 0) > 3)
    asking = commands("Then ask, in any other terminal")
    assert [command[0] for command in asking] == ["ros2"] * 3

    def run_beside_the_camera(command):
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run, command)
            client.until(running.done, timeout_s=300)
        return running.result()

    run_beside_the_camera(asking[0])
    client.until(lambda: client.got["segmentation"])
    status = client.got["segmentation"][0].status
    assert status in ("ok", "no_target")
    assert run_beside_the_camera(asking[1]).split() == [status, "---"]
    assert f"status     {status}" in run_beside_the_camera(asking[2])
    assert (tmp_path / "overlay.png").stat().st_size > 1000


def test_the_tabletop_and_evaluation_commands_run_in_order(run, tmp_path):
    shown, bag = (with_scenes(command, "3") for command in commands("## The simulated tabletop"))
    run(shown)
    assert (tmp_path / "out/tabletop.png").stat().st_size > 1000
    run(bag)
    run(commands("## Evaluation, without ROS")[0])
    assert (tmp_path / "out/evaluation/report.html").is_file()
    assert (tmp_path / "out/evaluation/summary.json").is_file()
