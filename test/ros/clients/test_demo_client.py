"""The demo's client against a node that is only its topics and its state service."""

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2's rclpy")

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from reasonseg_ros.msg import Query, Reasoning, Segmentation
from sensor_msgs.msg import CompressedImage, Image

from reasonseg_ros.bags import BagWriter
from reasonseg_ros.bags.topics import IMAGE_TOPIC, QUERY_TOPIC
from reasonseg_ros.demo import client as demo_client
from reasonseg_ros.errors import ReasonSegError
from reasonseg_ros.images.jpeg_comment import with_comment
from reasonseg_ros.images.messages import rgb_from_compressed


class StateNode(Node):
    """Is active, but its first `lost` replies do not arrive, as if its side had not found the client's reader."""

    def __init__(self, context, lost):
        super().__init__("reasonseg", context=context)
        self.requests = 0
        kinds = {"segmentation": Segmentation, "reasoning": Reasoning, "overlay/compressed": CompressedImage}
        self.outputs = {name: self.create_publisher(kind, f"reasonseg/{name}", 5) for name, kind in kinds.items()}
        images = self.create_publisher(Image, IMAGE_TOPIC, 5)
        self.create_timer(0.1, lambda: images.publish(Image()))
        self.create_subscription(Query, QUERY_TOPIC, self.on_query, 5)
        service = self.create_service(GetState, "reasonseg/get_state", self.on_request)
        send = service.send_response
        service.send_response = lambda *reply: send(*reply) if self.requests > lost else None

    def on_query(self, query):
        """Answers about an image of stamp 1 s. The pictures of other answers about it come first and last."""
        answer = Segmentation(query_id=query.query_id, status="no_target")
        answer.header.stamp.sec = 1
        self.outputs["segmentation"].publish(answer)
        for query_id, grey in (("another", 50), (query.query_id, 150), ("another", 250)):
            jpeg = cv2.imencode(".jpg", np.full((16, 16, 3), grey, np.uint8))[1].tobytes()
            data = with_comment(jpeg, query_id)
            picture = CompressedImage(header=answer.header, format="rgb8; jpeg compressed bgr8", data=data)
            self.outputs["overlay/compressed"].publish(picture)

    def on_request(self, _, response):
        self.requests += 1
        response.current_state = State(id=State.PRIMARY_STATE_ACTIVE, label="active")
        return response


@pytest.fixture
def waited_for(context, domain_id, tmp_path, monkeypatch):
    """Has the client wait for a node; the node afterwards."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    monkeypatch.setattr(demo_client, "START_LIMIT_S", 60.0)

    def wait(lost, then=lambda _: None):
        node, executor = StateNode(context, lost), SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            with (
                BagWriter(tmp_path / "record") as recorder,
                demo_client.DemoClient(recorder, lambda: executor.spin_once(timeout_sec=0.0)) as client,
            ):
                client.wait_until_active()
                then(client)
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


def test_an_answer_gets_its_own_picture_of_those_about_one_image(waited_for, monkeypatch):
    # The client serves the node only while it waits for an answer; here also while it waits for the picture.
    spin = demo_client.DemoClient._spin
    monkeypatch.setattr(
        demo_client.DemoClient,
        "_spin",
        lambda self, seconds, until=lambda: False: (self._check(), spin(self, seconds, until))[1],
    )
    shown = []

    def ask(client):
        client._wait(lambda: client._node.count_publishers(demo_client.OVERLAY_TOPIC), 20.0, "no publisher")
        for query_id in ("one", "two"):
            answer, picture = client.ask(query_id, "Where?", 10**9, lambda _: None)
            assert answer.query_id == query_id
            shown.append(rgb_from_compressed(picture).mean())

    waited_for(0, ask)
    assert shown == pytest.approx([150, 150], abs=2)
