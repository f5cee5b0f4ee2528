import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from reasonseg_ros import cli
from reasonseg_ros.commands.evaluate.parameters import config_values, refine_values
from reasonseg_ros.commands.evaluate.run_settings import PARAMETERS
from reasonseg_ros.config import settings
from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.errors import ConfigError
from reasonseg_ros.plain_text import one_line
from reasonseg_ros.reasoner.limits import failure
from reasonseg_ros.types import Status

BOX = (8, 8, 24, 24)


def test_a_bag_is_evaluated_and_gone_on_with(method, make_bag, samples_of, tmp_path, capsys):
    bag, out = make_bag([samples_of("a"), samples_of("b", None, "none"), samples_of("c")]), tmp_path / "out"
    assert cli.main(["evaluate", str(bag), "--out", str(out), "--limit", "1"]) == 0
    assert json.loads((out / "summary.json").read_text())["samples"] == 1
    assert cli.main(["evaluate", str(bag), "--out", str(out)]) == cli.USAGE_ERROR
    assert "--resume" in capsys.readouterr().err
    assert cli.main(["evaluate", str(bag), "--out", str(out), "--resume", "--protocol", "seg_zero"]) == cli.USAGE_ERROR
    assert "protocol was 'lisa'" in capsys.readouterr().err
    assert cli.main(["evaluate", str(bag), "--out", str(out), "--resume"]) == 0
    assert method.reasoner.questions == ["question a?", "question b?", "question c?"]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["giou"] == pytest.approx(2 / 3, abs=1e-6)
    run = json.loads((out / "results.json").read_text())["run"]
    assert run["model_cards"]["reasoner"]["name"] == "tabletop-reasoner" and run["batch_size"] == 1
    assert run["versions"]["numpy"] and run["bag"]["files"]["metadata.yaml"] > 0
    assert "0.667" in capsys.readouterr().out


def test_the_executable_for_ros2_run_is_the_verb(tmp_path):
    script = Path(__file__).resolve().parents[3] / "scripts" / "evaluate"
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1])}
    command = [sys.executable, script, tmp_path / "nothing", "--out", tmp_path / "out"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == cli.USAGE_ERROR and "there is no bag" in ended.stderr


def test_several_bags_are_one_run(method, make_bag, samples_of, tmp_path):
    bags = [make_bag([samples_of("a"), samples_of("b")], name="one"), make_bag([samples_of("a")], name="two")]
    out = tmp_path / "out"
    assert cli.main(["evaluate", *map(str, bags), "--out", str(out)]) == 0
    assert json.loads((out / "summary.json").read_text())["samples"] == 3
    values = json.loads((out / "results.json").read_text())
    assert [sample["sample_id"] for sample in values["samples"]] == ["one/a", "one/b", "two/a"]
    assert values["run"]["bag"]["name"] == "one, two" and values["run"]["bag"]["files"]["two/metadata.yaml"] > 0
    assert len({sample["image"] for sample in values["samples"]}) == 2
    assert all((out / sample["image"]).is_file() for sample in values["samples"])


def test_a_second_bag_that_is_no_use_is_reported_before_models_are_loaded(make_bag, samples_of, tmp_path, monkeypatch):
    monkeypatch.setattr("reasonseg_ros.methods.loading.load_method", lambda config, **_: pytest.fail("loaded"))
    bags = [str(make_bag([samples_of("a")])), str(tmp_path / "nothing")]
    assert cli.main(["evaluate", *bags, "--out", str(tmp_path / "out")]) == cli.USAGE_ERROR


def test_a_reasoner_without_batches_is_reported(method, make_bag, samples_of, tmp_path, capsys):
    bag, out = make_bag([samples_of("a")]), tmp_path / "out"
    assert cli.main(["evaluate", str(bag), "--out", str(out), "--batch-size", "2"]) == cli.USAGE_ERROR
    assert "--batch-size 2: seg_zero with scripted asks one question at a time" in capsys.readouterr().err


def test_batches_are_asked_and_recorded(method, make_bag, samples_of, tmp_path):
    reasoner = method.reasoner
    reasoner.has_batches = True
    reasoner.answer_batch = lambda frames, texts: [reasoner.answer(*asked) for asked in zip(frames, texts, strict=True)]
    bag, out = make_bag([samples_of(name) for name in "abc"]), tmp_path / "out"
    assert cli.main(["evaluate", str(bag), "--out", str(out), "--batch-size", "2"]) == 0
    assert json.loads((out / "results.json").read_text())["run"]["batch_size"] == 2


def test_a_strict_run_is_recorded_and_gone_on_with_strictly(method, make_bag, samples_of, tmp_path, capsys):
    bag, out = str(make_bag([samples_of("a")])), tmp_path / "out"
    assert cli.main(["evaluate", bag, "--out", str(out), "--strict"]) == 0
    assert json.loads((out / "results.json").read_text())["run"]["parameters"]["reasoner"]["strict"] is True
    assert cli.main(["evaluate", bag, "--out", str(out), "--resume"]) == cli.USAGE_ERROR
    assert "parameters.reasoner.strict was True and is False" in capsys.readouterr().err


def test_a_run_is_not_gone_on_with_by_other_files_or_settings(method, make_bag, samples_of, tmp_path, capsys):
    bag, out, prompt = make_bag([samples_of("a")]), tmp_path / "out", tmp_path / "prompt.txt"
    prompt.write_text("Find: {query}")
    words = ["evaluate", str(bag), "--out", str(out), "--set", f"reasoner.prompt_file={prompt}"]
    assert cli.main(words) == 0
    assert cli.main([*words, "--resume"]) == 0
    capsys.readouterr()
    prompt.write_text("Seek: {query}")
    assert cli.main([*words, "--resume"]) == cli.USAGE_ERROR
    assert "named_files_sha256.reasoner.prompt_file was '" in capsys.readouterr().err
    prompt.write_text("Find: {query}")
    assert cli.main([*words, "answer.min_confidence=0", "--resume"]) == cli.USAGE_ERROR
    assert "parameters.answer.min_confidence was -1.0 and is 0.0" in capsys.readouterr().err
    assert cli.main([*words, "selection.model=other", "--resume"]) == cli.USAGE_ERROR
    assert "parameters.selection.model was 'tabletop' and is 'other'" in capsys.readouterr().err
    stored = next(path for path in bag.iterdir() if path.name != "metadata.yaml")
    os.utime(stored, ns=(0, 1))  # another bag of the same size
    assert cli.main([*words, "--resume"]) == cli.USAGE_ERROR
    assert f"bag.written_ns.{stored.name} was " in capsys.readouterr().err


def test_every_group_of_parameters_is_known_to_matter_or_not():
    groups = {name.partition(".")[0] for name, _, _ in settings() if "." in name}
    no_matter = {"camera", "query", "stream", "points", "output", "record", "faults"}
    assert groups == {*PARAMETERS, *no_matter}


@pytest.mark.parametrize(
    ("options", "kept", "threads"),
    [
        ([], 9, 3),
        (["--ahead", "0"], 2, 0),
        (["--set", "segmenter.kept_frames=20", "segmenter.threads=4"], 20, 4),
    ],
)
def test_features_of_all_images_on_their_way_are_kept_and_made_beside_the_reasoner(
    method, make_bag, samples_of, tmp_path, monkeypatch, options, kept, threads
):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    configs = []

    def load(config, **_):
        configs.append(config)
        return method

    monkeypatch.setattr("reasonseg_ros.methods.loading.load_method", load)
    assert cli.main(["evaluate", str(make_bag([samples_of("a")])), "--out", str(tmp_path / "out"), *options]) == 0
    assert [(config.segmenter.kept_frames, config.segmenter.threads) for config in configs] == [(kept, threads)]


def test_kinds_and_protocol_are_passed_on(method, make_bag, samples_of, tmp_path):
    bag, out = make_bag([samples_of("a"), samples_of("b", None, "none")]), tmp_path / "out"
    assert cli.main(["evaluate", str(bag), "--out", str(out), "--kinds", "none", "--protocol", "seg_zero"]) == 0
    assert list(json.loads((out / "summary.json").read_text())["by_kind"]) == ["none"]


@pytest.mark.parametrize(("limit", "status"), [([], 1), (["--limit", "1"], 0)])
def test_a_misspelled_kind_beside_another_is_reported(method, make_bag, samples_of, tmp_path, capsys, limit, status):
    bag, out = make_bag([samples_of("a"), samples_of("b", None, "none")]), tmp_path / "out"
    assert cli.main(["evaluate", str(bag), "--out", str(out), "--kinds", "none", "functoin", *limit]) == status
    assert ("the bag has no question of functoin;" in capsys.readouterr().err) == bool(status)


def test_a_kind_that_nobody_asks_and_an_out_that_is_a_file_are_reported(method, make_bag, samples_of, tmp_path, capsys):
    bag, out = str(make_bag([samples_of("a")])), tmp_path / "out"
    assert cli.main(["evaluate", bag, "--out", str(out), "--kinds", "nonsense"]) == 1
    assert "no question of nonsense" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert cli.main(["evaluate", bag, "--out", str(tmp_path / "file")]) == cli.USAGE_ERROR
    assert "file cannot be written" in capsys.readouterr().err


def test_a_robot_s_bag_is_asked_from_a_file(method, make_bag, samples_of, tmp_path):
    bag = make_bag([samples_of("x", image=2)], with_truth=False, with_queries=False)
    questions = tmp_path / "questions.yaml"
    questions.write_text("- time_s: 1.2\n  text: what moved?\n")
    assert cli.main(["evaluate", str(bag), "--out", str(tmp_path / "out"), "--questions", str(questions)]) == 0
    assert method.reasoner.questions == ["what moved?"]


def test_what_cannot_be_read_gives_status_1(method, make_bag, samples_of, tmp_path, capsys):
    bag = make_bag([samples_of("a"), samples_of("b", image=1)], change=lambda messages: messages[1:])
    assert cli.main(["evaluate", str(bag), "--out", str(tmp_path / "out")]) == 1
    assert "failed: a there is no image of stamp" in capsys.readouterr().out


def test_a_server_that_is_away_gives_status_1(method, make_bag, samples_of, tmp_path, capsys):
    method.reasoner = SimpleNamespace(
        name="away", answer=lambda *_, **__: failure(Status.UNAVAILABLE, "the server is away", "away")
    )
    assert cli.main(["evaluate", str(make_bag([samples_of("a")])), "--out", str(tmp_path / "out")]) == 1
    assert "--resume asks them again" in capsys.readouterr().err


def test_a_bag_that_is_no_use_is_reported_before_models_are_loaded(make_bag, samples_of, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("reasonseg_ros.methods.loading.load_method", lambda config, **_: pytest.fail("loaded"))
    assert cli.main(["evaluate", str(tmp_path / "nothing"), "--out", str(tmp_path / "out")]) == cli.USAGE_ERROR
    assert "there is no bag" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], ("both", None, None)),
        (["none"], ("none", 0.0, 0.0)),
        (["holes"], ("none", None, 0.0)),
        (["specks", "edges"], ("edges", 0.0, None)),
        (["edges", "points"], ("both", 0.0, 0.0)),
    ],
)
def test_only_the_given_steps_refine(method, make_bag, samples_of, tmp_path, steps, expected):
    out = tmp_path / "out"
    assert cli.main(["evaluate", str(make_bag([samples_of("a")])), "--out", str(out), "--refine", *steps]) == 0
    chosen = json.loads((out / "settings.json").read_text())["parameters"]["segmenter"]
    plain = SegmenterConfig()
    assert chosen["refine"] == expected[0]
    assert chosen["fill_holes_share"] == (plain.fill_holes_share if expected[1] is None else 0.0)
    assert chosen["remove_specks_share"] == (plain.remove_specks_share if expected[2] is None else 0.0)


def test_none_goes_with_no_step():
    with pytest.raises(ConfigError, match="none alone"):
        refine_values(["none", "edges"])


def test_parameters_are_the_node_s():
    settings = SimpleNamespace(
        reasoner="seg-zero-7b", segmenter=None, overrides=["reasoner.device=cuda", "x.y=2"], refine=None, strict=False,
        method=None,
    )  # fmt: skip
    assert config_values(settings) == {
        "reasoner.time_limit_s": 3600.0, "reasoner.device": "cuda", "x.y": 2, "reasoner.model": "seg-zero-7b"
    }  # fmt: skip
    with pytest.raises(ConfigError, match="expected NAME=VALUE"):
        config_values(SimpleNamespace(**{**vars(settings), "overrides": ["reasoner.device"]}))


@pytest.mark.parametrize(
    ("options", "stated"),
    [
        (
            ["--strict", "--set", "reasoner.strict=false"],
            "reasoner.strict gets two values, True by --strict and False by",
        ),
        (["--reasoner", "a", "--set", "reasoner.model=b"], "'a' by --reasoner and 'b' by --set"),
        (["--method", "rev_seg", "--set", "method=seg_zero"], "'rev_seg' by --method"),
        (["--refine", "edges", "--set", "segmenter.fill_holes_share=0.5"], "0.0 by --refine and 0.5 by --set"),
        (["--set", "reasoner.device=cpu", "reasoner.device=cuda"], "'cpu' by --set and 'cuda' by --set"),
        (["--set", "reasoner.kept_frames=1", "reasoner.kept_frames=true"], "1 by --set and True by --set"),
    ],
)
def test_two_values_for_one_parameter_are_refused(options, stated, make_bag, samples_of, tmp_path, capsys):
    """Otherwise one of them would win without a word."""
    assert cli.main(["evaluate", str(make_bag([samples_of("a")])), "--out", str(tmp_path / "o"), *options]) == 2
    assert stated in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_one_value_may_be_given_twice():
    settings = SimpleNamespace(
        reasoner=None, segmenter=None, overrides=["reasoner.strict=true"], refine=None, strict=True, method=None
    )
    assert config_values(settings)["reasoner.strict"] is True


HOSTILE = "[/]\x1b[2J\u202e [red]x[/red] \\[/] \x9b31m"


def test_text_that_is_no_text_ends_in_results_and_nothing_reaches_the_terminal(
    monkeypatch, scripted, answer_text, make_bag, samples_of, tmp_path, capsys
):
    odd = answer_text(BOX).replace("I looked.", "a\ud800b\x1b[2J\udfff")
    labelled = odd.replace('{"bbox_2d"', '{"label": "a\ud800\x1b[2J", "bbox_2d"')
    method = scripted(odd, labelled, odd[:20], "\ud800\x1b", "No objects.")
    monkeypatch.setattr("reasonseg_ros.methods.loading.load_method", lambda config, **_: method)
    asked = [samples_of(f"{name}{HOSTILE}", kind=HOSTILE) for name in "abcde"]
    bag, out = make_bag(asked), tmp_path / "out [/] "
    assert cli.main(["evaluate", str(bag), "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert one_line(HOSTILE)[:12] in printed.out and str(out) in printed.out
    assert not set(printed.out + printed.err) & set("\x1b\x9b\u202e")
    samples = json.loads((out / "results.json").read_text(encoding="utf-8"))["samples"]
    assert [sample["status"] for sample in samples] == ["ok", "ok", "truncated", "unparsable", "no_target"]
    assert samples[0]["thought"] == "a\ufffdb\ufffd[2J\ufffd"
    assert samples[1]["groundings"][0]["label"] == "a\\ud800\\x1b[2J"
    for name in ("results.json", "results.jsonl", "summary.json", "report.html"):
        assert not set((out / name).read_text(encoding="utf-8")) & set("\x1b\x9b\u202e")
    assert cli.main(["evaluate", str(bag), "--out", str(out), "--resume"]) == 0, "what was kept is found again"
    assert len(method.reasoner.questions) == len(asked)


def test_ids_that_differ_in_control_characters_stay_two(method, make_bag, samples_of, tmp_path):
    bag = make_bag([samples_of("a\x01"), samples_of("a\x02")])
    assert cli.main(["evaluate", str(bag), "--out", str(tmp_path / "out")]) == 0
    samples = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["samples"]
    assert [sample["sample_id"] for sample in samples] == ["a\\x01", "a\\x02"]


def test_a_question_of_a_file_that_is_no_text_is_shown_as_such(method, make_bag, samples_of, tmp_path):
    questions = tmp_path / "questions.yaml"
    questions.write_text('- {time_s: 0, text: "the \\ud800 mug"}\n- {time_s: 0, text: "the mug"}\n')
    command = ["evaluate", str(make_bag([], with_truth=False)), "--out", str(tmp_path / "out"), "--questions"]
    cli.main([*command, str(questions)])
    samples = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["samples"]
    assert [sample["question"] for sample in samples] == ["the \ufffd mug", "the mug"]


def test_bag_info_prints_names_as_plain_text(make_bag, samples_of, capsys):
    def renamed(messages):
        return [(f"{topic}{HOSTILE}" if "image" in topic else topic, *rest) for topic, *rest in messages]

    bag = make_bag([samples_of("a", kind=HOSTILE)], change=renamed)
    cli.main(["bag", "info", str(bag)])
    printed = capsys.readouterr()
    assert one_line(HOSTILE) in printed.out
    assert not set(printed.out + printed.err) & set("\x1b\x9b\u202e")


@pytest.mark.parametrize("value", ["[", "{a: ]", "[" * 5000, "2021-99-99"])
def test_a_parameter_that_is_no_yaml_is_reported(value, make_bag, samples_of, tmp_path, capsys):
    arguments = ["evaluate", str(make_bag([samples_of("a")])), "--out", str(tmp_path / "out"), "--set"]
    assert cli.main([*arguments, f"reasoner.prompt_file={value}"]) == cli.USAGE_ERROR
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--set 'reasoner.prompt_file=" in line and "is not YAML" in line and len(line) < 300


@pytest.mark.parametrize("text", ["[" * 5000, "- 2021-99-99", "\x00", "- time_s: 1\n  text: " + "[" * 4000])
def test_questions_that_cannot_be_read_are_one_line(text, make_bag, samples_of, tmp_path, capsys):
    questions = tmp_path / "questions.yaml"
    questions.write_text(text)
    arguments = ["evaluate", str(make_bag([samples_of("a")])), "--out", str(tmp_path / "out")]
    assert cli.main([*arguments, "--questions", str(questions)]) == cli.USAGE_ERROR
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("reasonseg: questions ") and len(line) < 1200


@pytest.mark.parametrize(
    ("arguments", "method"),
    [([], "seg_zero"), (["--set", "method=rev_seg"], "rev_seg"), (["--method", "rev_seg"], "rev_seg")],
)
def test_the_method_is_asked_for_in_either_way(make_bag, samples_of, tmp_path, monkeypatch, arguments, method):
    asked = []

    def load(config, **_):
        asked.append(config.method)
        raise ConfigError("enough is known")

    monkeypatch.setattr("reasonseg_ros.methods.loading.load_method", load)
    bag = make_bag([samples_of("a")])
    assert cli.main(["evaluate", str(bag), "--out", str(tmp_path / "out"), *arguments]) == cli.USAGE_ERROR
    assert asked == [method]
