"""A client of the node, for tests."""

import time
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from reasonseg_ros.action import Segment
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from reasonseg_ros import msg
from reasonseg_ros.ros.conversion import header_message, pixels_message

SCRIPT = Path(__file__).parent / "scripted_node.py"
"""The node with scripted models, to be run as a process."""

LIMIT_S = 90.0
"""Long enough for a busy machine. It only ends a test that would hang."""


def image_of(frame) -> Image:
    return pixels_message(header_message(frame), frame.rgb)


class Client(Node):
    """The interfaces of a user of the node: publishers, an action client, and lists of received messages."""

    def __init__(self, context):
        super().__init__("client", context=context)
        self.spinner = SingleThreadedExecutor(context=context)
        self.spinner.add_node(self)
        self.images = self.create_publisher(Image, "image", 5)
        self.depths = self.create_publisher(Image, "depth", 5)
        self.infos = self.create_publisher(CameraInfo, "camera_info", 5)
        self.queries = self.create_publisher(msg.Query, "reasonseg/query", 10)
        self.texts = self.create_publisher(String, "reasonseg/query_text", 10)
        self.action = ActionClient(self, Segment, "reasonseg/segment")
        self.got = {"segmentation": [], "reasoning": [], "label_mask": [], "confidence": [], "diagnostics": []}
        kinds = {"segmentation": msg.Segmentation, "reasoning": msg.Reasoning}
        for name in ("segmentation", "reasoning", "label_mask", "confidence"):
            self.listen(name, kinds.get(name, Image), f"reasonseg/{name}")
        self.listen("diagnostics", DiagnosticArray, "/diagnostics")

    def listen(self, name, kind, topic):
        self.got.setdefault(name, [])
        self.create_subscription(kind, topic, self.got[name].append, 1000)

    def until(self, done, timeout_s=LIMIT_S):
        """Spin until `done()` is true; returns its value."""
        deadline_s = time.monotonic() + timeout_s
        while not (value := done()):
            assert time.monotonic() < deadline_s, f"not within {timeout_s} s; got {self.got['segmentation']}"
            self.spinner.spin_once(timeout_sec=0.05)
        return value

    def spin(self, seconds):
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            self.spinner.spin_once(timeout_sec=0.05)

    def connect(self):
        """Wait until the topics of node and client are matched."""
        ends = (self.queries, self.texts, self.images, self.depths)
        self.until(lambda: all(end.get_subscription_count() for end in ends))
        self.until(lambda: self.count_publishers("reasonseg/segmentation") and self.got["diagnostics"])

    def ask(self, text, query_id="", mode=""):
        """Publish a question and wait for its first answer."""
        before = len(self.got["segmentation"])
        self.queries.publish(msg.Query(text=text, query_id=query_id, mode=mode))

        def answers():  # answers to earlier questions may still arrive
            return [one for one in self.got["segmentation"][before:] if query_id in ("", one.query_id)]

        return self.until(answers)[0]

    def call(self, kind, name, request):
        client = self.create_client(kind, f"reasonseg/{name}")
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        return future.result()

    def set(self, **values):
        """Set parameters, with `__` for dots; returns the reason for each, empty if it was accepted."""
        parameters = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
        request = SetParameters.Request(parameters=[parameter.to_parameter_msg() for parameter in parameters])
        return [result.reason for result in self.call(SetParameters, "set_parameters", request).results]

    def transition(self, label):
        request = ChangeState.Request()
        request.transition.label = label
        return self.call(ChangeState, "change_state", request).success

    def diagnostic(self, name, accept, timeout_s=LIMIT_S):
        """The next diagnostic status with that name for which `accept` is true."""

        def found():
            statuses = [s for array in self.got["diagnostics"] for s in array.status if s.name.endswith(f": {name}")]
            self.got["diagnostics"].clear()
            return next(filter(accept, statuses), None)

        return self.until(found, timeout_s)

    def feedback_of_goal(self, goal):
        """Send a goal; returns its handle and the list that receives its feedback."""
        feedback = []
        self.until(self.action.server_is_ready)
        sent = self.action.send_goal_async(goal, feedback_callback=lambda message: feedback.append(message.feedback))
        self.until(sent.done)
        return sent.result(), feedback

    def result_of(self, handle):
        future = handle.get_result_async()
        self.until(future.done)
        return future.result()


def value(status, key):
    return {pair.key: pair.value for pair in status.values}.get(key)
