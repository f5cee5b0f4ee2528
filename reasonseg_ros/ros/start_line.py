"""The log lines of a configured node: what its models know, and which topics it uses."""

from __future__ import annotations

from rclpy.node import Node

from reasonseg_ros.config import Config
from reasonseg_ros.errors import ModelError
from reasonseg_ros.methods.port import Method
from reasonseg_ros.model_card import load_card

INPUTS = ("image", "camera_info", "depth")
QUESTIONS, ANSWERS = "~/query_text", "~/segmentation"


def models_line(method: Method, known: str) -> str:
    """The loaded models, and their `knowledge`."""
    stated = f"reasoner {method.reasoner.name}, segmenter {method.segmenter.name}"
    return f"{stated}: {known}; set reasoner.model and segmenter.model for anything else" if known else stated


def knowledge(config: Config, method: Method) -> str:
    """For example `the reasoner knows the simulated tabletop only`; empty for models without such a limit. If a method
    has other models than the settings name, no card describes them.
    """
    loaded = {"reasoner": (config.reasoner.model, method.reasoner.name),
              "segmenter": (config.segmenter.model, method.segmenter.name)}  # fmt: skip
    limits = []
    for kind, (model, name) in loaded.items():
        try:
            card = load_card(model, kind)
        except ModelError:
            continue
        if card.knows and card.name in name:
            limits.append(f"the {kind} knows {card.knows} only")
    return ", ".join(limits)


def topics_line(node: Node) -> str:
    """The inputs and the answers by their resolved names."""
    inputs = ", ".join(f"{name} {node.resolve_topic_name(name)}" for name in INPUTS)
    asked, answered = (node.resolve_topic_name(name) for name in (QUESTIONS, ANSWERS))
    return f"takes {inputs}; questions on {asked}, answers on {answered}"
