"""The demo's client against a node that is only its topics and its state service."""

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy")

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from reasonseg_ros.msg import Query, Reasoning, Segmentation
from sensor_msgs.msg import Image

from reasonseg_ros.bags import BagWriter
from reasonseg_ros.bags.topics import IMAGE_TOPIC, QUERY_TOPIC
from reasonseg_ros.demo import client as demo_client
from reasonseg_ros.errors import ReasonSegError


class StateNode(Node):
    """Is active, but its first `lost` replies do not arrive, as if its side had not found the client's reader."""

    def __init__(self, context, lost):
        super().__init__("reasonseg", context=context)
        self.requests = 0
        for kind, topic in ((Segmentation, "segmentation"), (Reasoning, "reasoning"), (Image, "overlay")):
            self.create_publisher(kind, f"reasonseg/{topic}", 5)
        images = self.create_publisher(Image, IMAGE_TOPIC, 5)
        self.create_timer(0.1, lambda: images.publish(Image()))
        self.create_subscription(Query, QUERY_TOPIC, lambda _: None, 5)
        service = self.create_service(GetState, "reasonseg/get_state", self.on_request)
        send = service.send_response
        service.send_response = lambda *reply: send(*reply) if self.requests > lost else None

    def on_request(self, _, response):
        self.requests += 1
        response.current_state = State(id=State.PRIMARY_STATE_ACTIVE, label="active")
        return response


@pytest.fixture
def waited_for(context, domain_id, tmp_path, monkeypatch):
    """Has the client wait for a node; the node afterwards."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    monkeypatch.setattr(demo_client, "START_LIMIT_S", 60.0)

    def wait(lost):
        node, executor = StateNode(context, lost), SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            with (
                BagWriter(tmp_path / "record") as recorder,
                demo_client.DemoClient(recorder, lambda: executor.spin_once(timeout_sec=0.0)) as client,
            ):
                client.wait_until_active()
        finally:
            executor.shutdown()
            node.destroy_node()
        return node

    return wait


def test_the_state_is_asked_for_once(waited_for):
    assert waited_for(0).requests == 1


def test_the_state_is_asked_for_again_if_a_reply_is_lost(waited_for, monkeypatch):
    monkeypatch.setattr(demo_client, "STATE_AGAIN_S", 0.5)
    assert waited_for(2).requests > 2


def test_a_state_that_never_arrives_is_an_error(waited_for, monkeypatch):
    monkeypatch.setattr(demo_client, "STATE_AGAIN_S", 0.5)
    monkeypatch.setattr(demo_client, "START_LIMIT_S", 6.0)
    with pytest.raises(ReasonSegError, match="service /reasonseg/get_state did not answer within 6 s"):
        waited_for(1000)
