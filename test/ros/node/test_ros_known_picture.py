"""The node asks about a known picture while it is configured, if its parameter says so."""

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from ros_client import value

from reasonseg_ros.images.files import write_image


def own_card(folder, box_xyxy):
    """A card with a picture of one bright box, which the node's scripted reasoner finds."""
    rgb = np.zeros((48, 64, 3), np.uint8)
    rgb[8:40, 16:48] = 255
    write_image(folder / "bright.png", rgb)
    (folder / "bright.yaml").write_text(f"image: bright.png\ntargets: [{{question: it, box_xyxy: {box_xyxy}}}]\n")
    lines = "kind: reasoner\nsource: a/b\ndialect: qwen3-vl\ncoordinates: relative_1000\nknown_picture: ./bright.yaml\n"
    (folder / "own.yaml").write_text(lines)
    return str(folder / "own.yaml")


def test_right_boxes_are_reported_in_diagnostics(start_node, client, tmp_path):
    start_node(reasoner__model=own_card(tmp_path, [16, 8, 48, 40]), reasoner__known_picture="require")
    status = client.diagnostic("known picture", lambda status: value(status, "state") == "right")
    assert (status.level, status.message) == (DiagnosticStatus.OK, "1 of 1 boxes of the known picture are right")
    assert value(status, "target 1").startswith("it: expected [16, 8, 48, 40], received [16, 8, 48, 40]")
    client.diagnostic("node", lambda status: status.message == "active")


def test_wrong_boxes_are_a_warning_or_fail_the_configuration(start_node, client, tmp_path):
    model = own_card(tmp_path, [50, 8, 60, 12])
    node = start_node(reasoner__model=model, reasoner__known_picture="warn")
    status = client.diagnostic("known picture", lambda status: value(status, "state") == "wrong")
    assert status.level == DiagnosticStatus.WARN
    assert "it: expected [50, 8, 60, 12], received [16, 8, 48, 40] (IoU 0.00)" in status.message
    client.diagnostic("node", lambda status: status.message == "active")

    assert client.transition("deactivate") and client.transition("cleanup")
    assert client.set(reasoner__known_picture="require") == [""]
    assert not client.transition("configure")
    status = client.diagnostic("node", lambda status: status.level == DiagnosticStatus.ERROR)
    assert status.message.startswith("reasoner.known_picture = require: 1 of 1 boxes of the known picture are wrong")
    client.diagnostic("known picture", lambda status: value(status, "state") == "wrong")

    assert client.set(reasoner__known_picture="never") == [""]
    assert client.transition("configure")
    status = client.diagnostic("known picture", lambda status: value(status, "state") == "not checked")
    assert status.level == DiagnosticStatus.OK
    assert node.config.reasoner.known_picture == "never"
