"""The launch files: the real `launch` accepts them if it imports, and stand-ins record what they ask for."""

import importlib.util
import json
import sys
import types
from pathlib import Path

import pytest
import yaml

from reasonseg_ros import cli
from reasonseg_ros.config import settings

ROOT = Path(__file__).resolve().parents[1]
NAMES = {
    "launch": ["LaunchDescription"],
    "launch.actions": ["DeclareLaunchArgument", "ExecuteProcess", "IncludeLaunchDescription", "OpaqueFunction"],
    "launch.conditions": ["IfCondition"],
    "launch.launch_description_sources": ["PythonLaunchDescriptionSource"],
    "launch.substitutions": ["LaunchConfiguration", "PathJoinSubstitution"],
    "launch_ros": [],
    "launch_ros.actions": ["Node"],
    "launch_ros.parameter_descriptions": ["ParameterValue"],
    "launch_ros.substitutions": ["ExecutableInPackage", "FindPackageShare"],
}


class Call:
    """What a launch file constructed: the class's name and the arguments."""

    def __init__(self, name, args, kwargs):
        self.name, self.args, self.kwargs = name, args, kwargs

    def perform(self, context):
        """A launch configuration's value in a context, which is a mapping here."""
        return context[self.args[0]]

    def __repr__(self):
        return f"{self.name}({', '.join(map(repr, self.args))})"


def load(name):
    path = ROOT / "launch" / name
    spec = importlib.util.spec_from_file_location(name.replace(".", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


@pytest.fixture
def described(monkeypatch):
    """The recorded actions of a launch file, by class name."""
    for module_name, classes in NAMES.items():
        module = types.ModuleType(module_name)
        for name in classes:
            setattr(module, name, lambda *args, _name=name, **kwargs: Call(_name, args, kwargs))
        monkeypatch.setitem(sys.modules, module_name, module)

    def describe(name, **given):
        found = load(name).args[0]
        arguments = [action for action in found if action.name == "DeclareLaunchArgument"]
        context = {action.args[0]: action.kwargs.get("default_value") for action in arguments} | given
        actions = {}
        for action in found:
            several = action.kwargs["function"](context) if action.name == "OpaqueFunction" else [action]
            for one in several:
                actions.setdefault(one.name, []).append(one)
        return actions

    return describe


def test_node_gets_its_parameters_and_topics(described):
    actions = described("reasonseg.launch.py")
    arguments = {action.args[0]: action.kwargs["default_value"] for action in actions["DeclareLaunchArgument"]}
    (node,) = actions["Node"]
    assert (node.kwargs["package"], node.kwargs["executable"]) == ("reasonseg_ros", "node")
    assert (ROOT / "scripts" / node.kwargs["executable"]).is_file()
    assert [name for name, _ in node.kwargs["remappings"]] == ["image", "camera_info", "depth"]
    flag, params_file = node.kwargs["ros_arguments"]
    assert flag == "--params-file"  # launch leaves out a file of `parameters` that is missing
    used = {node.kwargs["namespace"], params_file, *(to for _, to in node.kwargs["remappings"])}
    used |= set(node.kwargs["parameters"][0].values())
    others = {"model", "segmenter", "method", "respawn", "console", "console_port"}
    assert {value.args[0] for value in used} | others == set(arguments)
    assert "ExecuteProcess" not in actions
    assert node.kwargs["respawn"] is False
    _, *inside = arguments["params_file"].args[0]
    assert ROOT.joinpath(*inside).is_file()


def test_models_and_method_stand_above_the_parameter_file_where_they_are_given(described):
    (node,) = described("reasonseg.launch.py")["Node"]
    assert set(node.kwargs["parameters"][0]) == {"use_sim_time"}
    given = {"model": "/data/Seg-Zero-7B", "segmenter": "sam2.1-small", "method": "seg_zero", "respawn": "True"}
    (node,) = described("reasonseg.launch.py", **given)["Node"]
    values = node.kwargs["parameters"][0]
    known = {name for name, _, _ in settings()}
    for argument, name in (("model", "reasoner.model"), ("segmenter", "segmenter.model"), ("method", "method")):
        assert name in known
        assert (values[name].args, values[name].kwargs) == ((given[argument],), {"value_type": str})
    assert node.kwargs["respawn"] is True


@pytest.mark.parametrize(("namespace", "name"), [("", "/reasonseg"), ("/left", "/left/reasonseg")])
def test_the_console_follows_the_node_in_its_namespace(described, namespace, name):
    actions = described("reasonseg.launch.py", console="true", namespace=namespace, console_port="9000")
    (process,) = actions["ExecuteProcess"]
    program, *arguments = process.kwargs["cmd"]
    assert program.kwargs == {"package": "reasonseg_ros", "executable": "reasonseg"}
    assert (ROOT / "scripts" / "reasonseg").is_file()
    assert cli._parser().parse_args(arguments).name == name
    assert arguments[-2:] == ["--port", "9000"]


def test_parameter_file_reaches_the_node_by_any_name(described):
    actions = described("reasonseg.launch.py")
    parameters = yaml.safe_load((ROOT / "config" / "reasonseg.yaml").read_text(encoding="utf-8"))
    assert actions["Node"][0].kwargs["name"] == "reasonseg"
    assert list(parameters) == ["/**"]


def test_replay_plays_the_bag_beside_the_node_and_rviz(described):
    actions = described("replay.launch.py")
    arguments = {action.args[0]: action.kwargs for action in actions["DeclareLaunchArgument"]}
    assert "default_value" not in arguments["bag"]
    (player,) = actions["ExecuteProcess"]
    assert player.kwargs["cmd"][:3] == ["ros2", "bag", "play"]
    assert player.kwargs["cmd"][3].args == ("bag",)
    (included,) = actions["IncludeLaunchDescription"]
    _, *inside = included.args[0].args[0].args[0]
    assert ROOT.joinpath(*inside).is_file()
    declared = {action.args[0] for action in described("reasonseg.launch.py")["DeclareLaunchArgument"]}
    assert dict(included.kwargs["launch_arguments"]).keys() <= declared
    (rviz,) = actions["Node"]
    _, *inside = rviz.kwargs["arguments"][1].args[0]
    assert ROOT.joinpath(*inside).is_file()
    assert rviz.kwargs["condition"].args[0].args == ("rviz",)


OUTPUTS = ("overlay", "label_mask", "confidence", "points", "markers")


def test_rviz_shows_what_the_node_publishes():
    displays = yaml.safe_load((ROOT / "rviz" / "reasonseg.rviz").read_text(encoding="utf-8"))
    topics = {display["Topic"]["Value"] for display in displays["Visualization Manager"]["Displays"]}
    assert topics == {"/image", *(f"/reasonseg/{name}" for name in OUTPUTS)}


def panels_of(split):
    """The names of the panels in a Foxglove layout's tree of splits."""
    return [split] if isinstance(split, str) else [*panels_of(split["first"]), *panels_of(split["second"])]


def test_foxglove_shows_what_the_node_publishes():
    layout = json.loads((ROOT / "foxglove" / "reasonseg.json").read_text(encoding="utf-8"))
    panels = layout["configById"]
    assert sorted(panels_of(layout["layout"])) == sorted(panels)
    shown = {panel["imageMode"]["imageTopic"] for panel in panels.values() if "imageMode" in panel}
    shown |= {topic for panel in panels.values() for topic in panel.get("imageMode", {}).get("annotations", ())}
    shown |= {topic for panel in panels.values() for topic in panel.get("topics", ())}
    shown |= {panel["topicPath"].partition(".")[0] for panel in panels.values() if "topicPath" in panel}
    standard = ("annotations", "target_pose", "overlay/compressed", "points", "markers", "reasoning", "segmentation")
    assert shown == {"/image", *(f"/reasonseg/{name}" for name in standard)}
    question = panels["Publish!question"]
    assert (question["topicName"], question["datatype"]) == ("/reasonseg/query_text", "std_msgs/String")
    assert list(json.loads(question["value"])) == ["data"]


SCENE = {"scene", "transforms", "layers", "topics", "synchronize", "syncedTopics"}
TOPIC = {"visible", "convertTo", "schemaSettings"}
DOCUMENTED = {
    "Image": {*SCENE, "imageMode"},
    "3D": {*SCENE, "cameraState", "fixedFrame", "followMode", "followTf", "publish"},
    "Publish": {"advancedView", "buttonColor", "buttonText", "buttonTooltip", "datatype", "topicName", "value"},
    "RawMessages": {"defaultExpanded", "diffEnabled", "diffMethod", "diffTopicPath", "expansion", "fontSize",
                    "showFullMessageForDiff", "topicPath"},
    "DiagnosticSummary": {"hardwareIdFilter", "minLevel", "pinnedIds", "secondsUntilStale", "sortByLevel",
                          "topicToRender"},
    "imageMode": {"annotations", "calibrationTopic", "imageTopic", "overlayTopics", "rectifyImage", "rotation",
                  "synchronize"},
    "cameraState": {"distance", "far", "fovy", "logDepth", "near", "perspective", "phi", "target", "targetOffset",
                    "targetOrientation", "thetaOffset"},
    "scene": {"backgroundColor", "enableStats", "labelScaleFactor", "syncCamera", "transforms"},
    "transforms": {"axisSize", "editable", "labelSize", "lineColor", "lineWidth", "showLabel", "visible"},
    "points": {*TOPIC, "colorField", "colorMode", "decayTime", "flatColor", "pointShape", "pointSize"},
    "markers": {*TOPIC, "color", "namespaces", "selectedIdVariable", "showOutlines"},
    "target_pose": {*TOPIC, "arrowScale", "axisScale", "color", "covarianceColor", "showCovariance", "type"},
    "grid": {*TOPIC, "color", "divisions", "frameId", "instanceId", "label", "layerId", "lineWidth", "order",
             "position", "rotation", "size"},
}  # fmt: skip
"""Keys of each part of a layout that `foxglove.layouts` of foxglove-sdk 0.30 describes: others are passed over."""


def test_foxglove_knows_each_key_of_the_layout():
    panels = json.loads((ROOT / "foxglove" / "reasonseg.json").read_text(encoding="utf-8"))["configById"]
    for name, panel in panels.items():
        assert panel.keys() <= DOCUMENTED[name.partition("!")[0]], name
        for part in ("imageMode", "cameraState", "scene"):
            assert panel.get(part, {}).keys() <= DOCUMENTED[part], name
        assert panel.get("scene", {}).get("transforms", {}).keys() <= DOCUMENTED["transforms"]
        for topic, chosen in panel.get("topics", {}).items():
            assert chosen.keys() <= DOCUMENTED[topic.rpartition("/")[2]], topic
        for chosen in panel.get("layers", {}).values():
            assert chosen.keys() <= DOCUMENTED["grid"]
        if panel.get("synchronize"):  # only the topics that are named are synchronised
            image = panel["imageMode"]
            assert panel["syncedTopics"].keys() == {image["imageTopic"], *image["annotations"]}


@pytest.mark.parametrize("name", ["reasonseg.launch.py", "replay.launch.py"])
def test_real_launch_accepts_the_description(name):
    pytest.importorskip("launch_ros.actions", reason="`launch` and `launch_ros` come with ROS 2 from apt only")
    from launch import LaunchDescription

    description = load(name)
    assert isinstance(description, LaunchDescription)
    arguments = {argument.name for argument in description.get_launch_arguments()}
    # What an included file declares is known only once the launch runs.
    assert ("image_topic" if name == "reasonseg.launch.py" else "bag") in arguments
