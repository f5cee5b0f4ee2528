# ruff: noqa: E402 - the environment has to be set before ROS is imported
import gc
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

# Both are read when the first message class is imported.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
sys.path.insert(0, str(Path(__file__).parent))

with warnings.catch_warnings():
    # Its parser generator (lark) imports a deprecated module of the standard library.
    warnings.simplefilter("ignore", DeprecationWarning)
    pytest.importorskip("rosidl_generator_py", reason="needs ROS 2")
rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("reasonseg_ros.msg", reason="needs the built messages")

from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from ros_client import Client, image_of, value
from scripted_node import bright_frame, load

from reasonseg_ros.demo.processes import reserve_domain
from reasonseg_ros.ros.node import ReasonSegNode
from reasonseg_ros.ros.process import memory

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _imports_stay_left_out(request, monkeypatch):
    """Keep imported objects excluded from garbage collection when a node in the tests' process releases its models.

    Tests of the node's use of the garbage collector request `process_collector` instead.
    """
    if "process_collector" not in request.fixturenames:
        names = ("collect", "disable", "enable", "isenabled")
        kept = {name: lambda: None for name in ("freeze", "unfreeze")}
        monkeypatch.setattr(memory, "gc", SimpleNamespace(**{name: getattr(gc, name) for name in names}, **kept))


@pytest.fixture
def process_collector():
    """The real garbage collector, as in a process of the node."""
    yield gc
    gc.collect()
    gc.freeze()


@pytest.fixture
def domain_id():
    """A ROS domain that no other test, worker or process here uses."""
    domain_id, reservation = reserve_domain()
    with reservation:
        yield domain_id


@pytest.fixture
def context(domain_id):
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain_id)
    yield context
    context.try_shutdown()


@pytest.fixture
def client(context):
    client = Client(context)
    yield client
    client.spinner.shutdown()
    client.destroy_node()


@pytest.fixture
def start_node(context):
    """Start the node in a separate thread, with parameters by keyword (`__` for dots)."""
    running = []

    def start(arguments=None, load=load, **values):
        values = {"query__frame_wait_s": 0.3, "diagnostics_period_s": 0.1, **values}
        overrides = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        node = ReasonSegNode(load, context=context, parameter_overrides=overrides, cli_args=arguments)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        failures, stopping = [], threading.Event()

        def spin():
            try:
                if node.config.autostart:
                    node.start()
                while not stopping.is_set():
                    executor.spin_once()
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=spin)
        thread.start()
        running.append((node, executor, thread, stopping, failures))
        return node

    yield start
    for node, executor, thread, stopping, failures in running:
        stopping.set()
        executor.wake()
        thread.join(30)
        executor.shutdown()
        node.destroy_node()
        assert not failures, failures


@pytest.fixture
def node(start_node, client):
    """The active node, connected, with one image shown."""
    node = start_node()
    client.connect()
    client.images.publish(image_of(bright_frame(stamp_ns=12_000_000_034)))
    client.diagnostic("camera", lambda status: value(status, "received") == "1")
    return node


@pytest.fixture
def start_process(domain_id):
    """Start a Python process in the tests' ROS domain, from a script or `-m` and its arguments."""
    running = []

    def start(*command):
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id), "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            [sys.executable, *command], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()
