"""Every verb of the command line is one module, or folder, with the same two functions, and explains itself."""

import argparse
import inspect
import re
import shlex
from pathlib import Path

import pytest

from reasonseg_ros import cli
from reasonseg_ros.commands import train

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "models/tabletop/README.md", "benchmarks/LOG.md", "docs/tracking.md")


def parsers(parser=None):
    """The parsers of all verbs, by the words that lead to them."""
    parser = parser or cli._parser()
    yield tuple(parser.prog.replace("[--video] ", "").split()[1:]), parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from parsers(below)


def test_each_verb_is_one_module_with_register_and_run():
    folder = Path(cli.ask.__file__).parent
    verbs = {Path(verb.__file__) for verb in cli.VERBS}
    of_folders = {path for verb in verbs if verb.stem == "__init__" for path in verb.parent.rglob("*.py")}
    files = {path for path in folder.rglob("*.py") if path.stem not in ("__init__", "options")}
    assert {verb for verb in verbs if verb.stem != "__init__"} == files - of_folders
    assert {verb.parent.name for verb in verbs if verb.stem == "__init__"} == {"evaluate", "train"}
    for verb in (*cli.VERBS, *train.VERBS):
        assert list(inspect.signature(verb.register).parameters) == ["verbs"], verb.__name__
        assert len(inspect.signature(verb.run).parameters) == 1, verb.__name__


@pytest.mark.parametrize("words", [words for words, _ in parsers()], ids=" ".join)
def test_every_verb_has_help_with_its_usage(words, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main([*words, "--help"])
    assert exit_.value.code == 0
    usage = capsys.readouterr().out.split("\n\n")[0].replace("[--video]", "")
    assert re.sub(r"\s+", " ", usage).startswith(" ".join(["usage: reasonseg", *words]))


def documented():
    """The commands of the pages, whole lines with their continuations."""
    for page in PAGES:
        text = re.sub(r"\\\n\s*", "", (ROOT / page).read_text(encoding="utf-8"))
        for line in re.findall(r"^\s*(reasonseg train .*)$", text, re.MULTILINE):
            yield from (part.strip() for part in line.split("&&"))


@pytest.mark.parametrize("command", sorted(set(documented())))
def test_documented_training_commands_parse(command):
    settings = cli._parser().parse_args(shlex.split(command)[1:])
    assert settings.run is train.run


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["train", "--run", "run", "--out", "out"], "--data"),
        (["--video", "train", "--run", "run", "--out", "out", "--videos", "v"], "--scenes, --image"),
        (["train", "--data", "d", "--videos", "v", "--run", "run", "--out", "out"], "--videos given"),
        (["--video", "train", "--data", "d", "--videos", "v", "--scenes", "s", "--image", "i", "--run", "run",
          "--out", "out"], "--data given"),
        (["export", "--image", "i", "--run", "run", "--out", "out"], "--image given"),
        (["--video", "export", "--run", "run", "--out", "out"], "--image missing"),
        (["evaluate", "--model", "m"], "--seeds missing"),
        (["--video", "evaluate", "--model", "m", "--videos", "v", "--seeds", "1", "2"], "--seeds given"),
        (["evaluate", "--model", "m", "--seeds", "1", "2", "--modes", "memory"], "--modes given"),
    ],
)  # fmt: skip
def test_training_refuses_options_of_the_other_model(tmp_path, monkeypatch, capsys, options, reason):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "segmenter", *options]) == cli.USAGE_ERROR
    printed = capsys.readouterr().err
    assert reason in printed and len(printed.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_training_renders_scenes_that_training_reads(tmp_path, capsys):
    from reasonseg_ros.training.rendered.scenes import SceneFiles

    command = ["train", "scenes", "--seeds", "7", "2", "--size", "96x72", "--out", str(tmp_path / "scenes")]
    assert cli.main(command) == 0
    assert [scene.seed for scene in SceneFiles(tmp_path / "scenes")] == [7, 8]
    assert "2 of 2 scenes" in capsys.readouterr().out
