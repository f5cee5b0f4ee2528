"""The commands of docs/evaluation.md are ones that the command line understands."""

import re
import shlex
from pathlib import Path

import pytest

from reasonseg_ros import cli
from reasonseg_ros.commands import evaluate as evaluate_command
from reasonseg_ros.commands.evaluate.parameters import config_values
from reasonseg_ros.config import config_from
from reasonseg_ros.model_card import load_card

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


def commands():
    """Whole commands, from blocks and from running text; not the summaries of options, nor the bare names of verbs."""
    blocks = re.findall(r"^    (reasonseg .*)$", TEXT, re.MULTILINE)
    words = [re.sub(r"\s+", " ", found) for found in re.findall(r"`(reasonseg [^`]*)`", TEXT)]
    return [found.replace(" ...", "").split(" #")[0] for found in blocks + words if "--" in found and "[" not in found]


@pytest.mark.parametrize("command", commands())
def test_it_parses(command):
    settings = cli._parser().parse_args(shlex.split(command)[1:])
    if settings.run is evaluate_command.run:
        config = config_from(config_values(settings))
        load_card(config.reasoner.model, "reasoner")
        load_card(config.segmenter.model, "segmenter")


def test_there_are_commands_to_try():
    assert len(list(commands())) >= 8
