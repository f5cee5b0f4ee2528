"""What the node says when it is configured, and what its diagnostics say of its models."""

from ros_client import value
from scripted_node import load

from reasonseg_ros.config import config_from
from reasonseg_ros.methods.seg_zero import SegZero
from reasonseg_ros.reasoner.scripted import ScriptedReasoner
from reasonseg_ros.ros.start_line import knowledge, models_line
from reasonseg_ros.segmenter.scripted import ScriptedSegmenter


def method(reasoner, segmenter):
    found = SegZero(ScriptedReasoner(["x"]), ScriptedSegmenter(), config_from({}))
    found.reasoner.name, found.segmenter.name = reasoner, segmenter
    return found


def test_embedded_models_are_said_to_know_the_tabletop_only():
    known = knowledge(config_from({}), method("tabletop-reasoner", "tabletop-segmenter (onnxruntime)"))
    assert known.count("the simulated tabletop only") == 2
    assert "set reasoner.model" in models_line(method("a", "b"), known)


def test_only_models_that_a_card_describes_are_said_to_know_little():
    assert knowledge(config_from({}), method("my own", "my own")) == ""
    general = config_from({"reasoner.model": "qwen3-vl-2b", "segmenter.model": "sam2.1-tiny"})
    assert knowledge(general, method("qwen3-vl-2b", "sam2.1-tiny")) == ""
    assert models_line(method("a", "b"), "") == "reasoner a, segmenter b"


def test_the_start_names_the_resolved_topics(start_process, client):
    remaps = ["-r", "image:=/head/image_raw", "-r", "__ns:=/left"]
    process = start_process("test/ros/scripted_node.py", "--ros-args", *remaps)
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "answers on" in line:
            break
    assert "image /head/image_raw, camera_info /left/camera_info, depth /left/depth" in lines[-1], lines
    assert "questions on /left/reasonseg/query_text, answers on /left/reasonseg/segmentation" in lines[-1]


def test_diagnostics_say_what_the_models_know(start_node, client):
    def embedded(settings, report):
        found = load(settings, report)
        found.reasoner.name = "tabletop-reasoner"
        return found

    start_node(load=embedded)
    client.connect()
    status = client.diagnostic("node", lambda status: value(status, "state") == "active")
    assert value(status, "limits") == "the reasoner knows the simulated tabletop only"
