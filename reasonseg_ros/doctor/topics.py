"""Checks of the topics of a running robot, its transforms and the stamps of its images."""

from __future__ import annotations

from dataclasses import dataclass, field

from reasonseg_ros.config import CameraConfig
from reasonseg_ros.doctor.finding import Finding, Wanted, fault, ok, warning
from reasonseg_ros.ros.client.survey import OWN_TYPES, Survey, TopicFacts, survey

OLD_S, FUTURE_S = 1.0, -0.1
"""Maximum and minimum age of stamps on arrival. Others come from an unsynchronised clock."""
EXPECTED = {
    ("image", "raw"): "sensor_msgs/msg/Image",
    ("image", "compressed"): "sensor_msgs/msg/CompressedImage",
    ("depth", "raw"): "sensor_msgs/msg/Image",
    ("depth", "compressed"): "sensor_msgs/msg/CompressedImage",
    ("camera_info", "raw"): "sensor_msgs/msg/CameraInfo",
}


@dataclass(frozen=True)
class RobotFacts:
    """`names`: topics by input. `survey` is None if topics are not checked, or if ROS is missing (`error`)."""

    survey: Survey | None = None
    names: dict[str, str] = field(default_factory=dict)
    camera: CameraConfig = field(default_factory=CameraConfig)
    target_frame: str = ""
    error: str = ""


def look_at_robot(wanted: Wanted) -> RobotFacts:
    if not wanted.topics:
        return RobotFacts()
    config = wanted.config
    target_frame = config.points.target_frame
    try:
        found = survey(wanted.topics, wanted.listen_s, target_frame)
    except ImportError as error:
        return RobotFacts(error=str(error))
    return RobotFacts(found, wanted.topics, config.camera, target_frame)


def judge_robot(facts: RobotFacts) -> list[Finding]:
    if facts.error:
        return [fault(f"topics cannot be checked: {facts.error}", "source ROS 2 and the workspace")]
    if facts.survey is None:
        return [ok("topics were not checked (--topics)")]
    found = [finding for role, name in facts.names.items() for finding in _judge_input(role, name, facts)]
    inputs = {_absolute(name) for name in facts.names.values()}
    found += [ok(_described(one)) for name, one in sorted(facts.survey.topics.items()) if name not in inputs]
    return [*found, *_judge_node(facts.survey), *_judge_transforms(facts)]


def _absolute(name: str) -> str:
    return name if name.startswith("/") else f"/{name}"


def _judge_input(role: str, name: str, facts: RobotFacts) -> list[Finding]:
    assert facts.survey is not None
    topic = facts.survey.topics.get(_absolute(name)) or TopicFacts(_absolute(name), ())
    camera = facts.camera
    transport = {"image": camera.transport, "depth": camera.depth_transport}.get(role, "raw")
    expected = EXPECTED[role, transport]
    if not topic.publishers:
        return [_no_publisher(role, topic.name, expected, facts.survey)]
    if expected not in topic.types:
        remedy = f"name a topic of {expected}, or set the transport parameter of the {role}"
        return [fault(f"{role}: {_described(topic)}; expected {expected}", remedy)]
    if not topic.messages:
        text = f"{role}: {_described(topic)}: no message in {facts.survey.listened_s:g} s"
        return [fault(text, "check the driver, ROS_DOMAIN_ID and the shared-memory profile of both")]
    if camera.reliability == "reliable" and any(word == "best effort" for _, word in topic.publishers):
        return [fault(f"{role}: {_described(topic)}; camera.reliability = reliable never matches it", "set it to auto")]
    return [_judge_stamps(role, topic, facts.survey)]


def _no_publisher(role: str, name: str, expected: str, found: Survey) -> Finding:
    others = sorted(one.name for one in found.topics.values() if expected in one.types and one.publishers)
    offered = f"; topics of {expected}: {', '.join(others)}" if others else ""
    text = f"{role}: {name} has no publisher{offered}"
    if role == "image":
        return fault(text, "start the camera, or name its topic (--image-topic)")
    if role == "camera_info":
        return warning(f"{text}; there are no 3D results", "name its topic (--camera-info-topic)")
    return ok(f"{text}; there are no 3D results")


def _judge_stamps(role: str, topic: TopicFacts, found: Survey) -> Finding:
    text = f"{role}: {_described(topic)}"
    if not topic.has_stamps:
        return warning(f"{text}; its stamps are 0", "have the driver stamp its messages")
    age_s = topic.stamp_age_s or 0.0
    if not FUTURE_S <= age_s <= OLD_S:
        clock = "set use_sim_time of this robot's nodes" if found.is_simulated else "synchronise the machines' clocks"
        where = "in the past" if age_s > 0 else "in the future"
        return warning(f"{text}; its stamps are {abs(age_s):.1f} s {where}", clock)
    return ok(f"{text}, {age_s * 1000:.0f} ms old on arrival")


def _judge_node(found: Survey) -> list[Finding]:
    nodes = sorted({node for one in found.topics.values() if OWN_TYPES[0] in one.types for node, _ in one.publishers})
    clock = [ok("/clock is published: nodes with use_sim_time follow it")] if found.is_simulated else []
    return [ok(f"nodes that answer questions: {', '.join(nodes) or 'none runs'}"), *clock]


def _judge_transforms(facts: RobotFacts) -> list[Finding]:
    assert facts.survey is not None
    frames = facts.survey.frames
    if frames is None:
        text = "tf2_msgs is not installed, so transforms cannot be checked"
        return [fault(text, "install tf2_msgs and tf2_ros") if facts.target_frame else ok(text)]
    if not facts.target_frame:
        return [ok(f"{len(frames)} tf frames; 3D results are in the camera's frame (points.target_frame)")]
    known = {*frames, *frames.values()}
    if facts.target_frame not in known:
        text = f"points.target_frame = {facts.target_frame}, which tf does not know ({len(known)} frames)"
        return [fault(text, "start its publisher (robot_state_publisher), or correct the name")]
    away = sorted(frame for frame, is_linked in facts.survey.linked.items() if not is_linked)
    if away:
        remedy = "publish the missing transform, for example by static_transform_publisher"
        return [fault(f"tf has no path from {', '.join(away)} to {facts.target_frame}", remedy)]
    return [ok(f"{len(frames)} tf frames, with a path to {facts.target_frame}")]


def _described(topic: TopicFacts) -> str:
    offers = ", ".join(f"{node} ({word})" for node, word in topic.publishers) or "no publisher"
    parts = [f"{topic.name} [{', '.join(topic.types)}] by {offers}"]
    if topic.messages is not None:
        parts.append(f"{topic.rate_hz:.1f} Hz" if topic.rate_hz else f"{topic.messages} messages")
        parts.append(f"{topic.size_bytes / 1e6:.2f} MB")
    return ", ".join(parts)
