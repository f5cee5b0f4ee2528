"""`reasonseg doctor`: what works on this machine, what does not, and the remedy."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import number, ros_name

WORDS = {"ok": "ok     ", "warning": "WARNING", "fault": "FAULT  "}


_TOPIC_DEFAULTS = {"image_topic": "/image", "camera_info_topic": "/camera_info", "depth_topic": "/depth", "listen": 3.0}


def register(verbs: Any) -> None:
    doctor = verbs.add_parser(
        "doctor",
        help="check this machine, its models and topics, and name remedies",
        description="Check Python, ROS 2, shared memory, GPU, runtimes, disk, models and their licences. Exit status: "
        "0 no fault, 1 a fault; warnings do not count.",
    )
    doctor.add_argument("--params", type=Path, metavar="FILE", help="the node's parameter file")
    doctor.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", dest="overrides",
        help="the node's parameters, for example segmenter.backend=tensorrt",
    )  # fmt: skip
    doctor.add_argument("--online", action="store_true", help="also ask the hub about models that are missing here")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    robot = doctor.add_argument_group("a running robot")
    robot.add_argument("--topics", action="store_true", help="check its topics: rates, quality of service, tf")
    robot.add_argument(
        "--image-topic", type=ros_name, metavar="TOPIC", help=f"(default: {_TOPIC_DEFAULTS['image_topic']})"
    )
    robot.add_argument(
        "--camera-info-topic", type=ros_name, metavar="TOPIC", help=f"(default: {_TOPIC_DEFAULTS['camera_info_topic']})"
    )
    robot.add_argument(
        "--depth-topic", type=ros_name, metavar="TOPIC", help=f"(default: {_TOPIC_DEFAULTS['depth_topic']})"
    )
    robot.add_argument(
        "--listen",
        type=number(0.1, 3600),
        metavar="S",
        help=f"seconds to listen (default: {_TOPIC_DEFAULTS['listen']})",
    )
    doctor.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int:
    from reasonseg_ros.commands.options import fill_dependent, set_values
    from reasonseg_ros.config import config_from
    from reasonseg_ros.config.parameter_file import read_parameters
    from reasonseg_ros.doctor.finding import Level, Wanted
    from reasonseg_ros.doctor.run import as_values, diagnose, worst
    from reasonseg_ros.files.strict_json import json_text
    from reasonseg_ros.plain_text import one_line

    fill_dependent(settings, settings.topics, _TOPIC_DEFAULTS, "without --topics")
    values = read_parameters(settings.params) if settings.params else {}
    values.pop("use_sim_time", None)  # a parameter of every ROS node
    names = {"image": settings.image_topic, "camera_info": settings.camera_info_topic, "depth": settings.depth_topic}
    config = config_from(values | set_values(settings.overrides))
    wanted = Wanted(config, settings.online, names if settings.topics else {}, settings.listen)
    findings = []
    for name, finding in diagnose(wanted):
        findings.append((name, finding))
        if not settings.json:
            remedy = f" -> {finding.remedy}" if finding.remedy else ""
            print(WORDS[finding.level], one_line(f"{name}: {finding.text}{remedy}"), flush=True)
    if settings.json:
        print(json_text(as_values(findings), indent=2))
    else:
        count = {level: sum(one.level is level for _, one in findings) for level in Level}
        print(f"{count[Level.FAULT]} faults, {count[Level.WARNING]} warnings")
    return 1 if worst(findings) is Level.FAULT else 0
