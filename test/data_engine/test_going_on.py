"""A run against a server that is slow or away, and runs that are ended and go on without paying twice."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from engine_runs import asked_for, command, lines, reasons
from vision_server import (
    PROMPT_TOKENS,
    TOKENS,
    Refuse,
    good,
    serving,
    sleep,
    write_coco,
)

from reasonseg_ros.cli import main
from reasonseg_ros.data_engine.records import read_questions_file


def test_a_slow_answer_counts_as_a_try_and_costs_no_picture(coco, tmp_path):
    slow = []

    def replying(words, server):
        if asked_for(words) and not slow:
            slow.append(words)
            sleep(server, 20)
        return good(words, server)

    with serving(replying) as server:
        assert main(command(coco, server, "--time-limit", "1")) == 0
    assert len(server.requests) == 3
    assert len(read_questions_file(tmp_path / "out")) == 5
    assert "no answer within 1 s" in reasons(tmp_path / "out")[""]


def test_a_server_that_is_away_ends_the_run_and_the_next_one_goes_on(tmp_path, capsys):
    coco = write_coco(tmp_path / "coco", pictures=6)

    def away(words, server):
        if len(server.requests) > 2:
            raise Refuse("404")
        return good(words, server)

    with serving(away) as server:
        assert main(command(coco, server, "--repeats", "9")) == 2
    error = capsys.readouterr().err
    assert "3 pictures in a row got no reply" in error
    assert "HTTP 404: not now" in error
    assert "run the same command again to continue" in error
    assert len(read_questions_file(tmp_path / "out")) == 5
    with serving(good) as server:
        assert main(command(coco, server, "--repeats", "9")) == 0
    assert len(server.requests) == 10
    assert "replies: 10 requested, 2 reused" in capsys.readouterr().out
    assert len(read_questions_file(tmp_path / "out")) == 30


def test_a_second_run_asks_nothing_and_makes_the_same(coco, tmp_path, capsys):
    with serving(good) as server:
        assert main(command(coco, server)) == 0
        assert "earlier runs;" not in capsys.readouterr().out
        before = (tmp_path / "out/questions.jsonl").read_bytes()
        assert main(command(coco, server)) == 0
        assert len(server.requests) == 2
        assert (tmp_path / "out/questions.jsonl").read_bytes() == before
        spent = f"tokens: {2 * PROMPT_TOKENS} in prompts, {2 * TOKENS} in replies"
        earlier = f"; {2 * PROMPT_TOKENS} and {2 * TOKENS} of these by earlier runs; cost"
        assert spent + earlier in capsys.readouterr().out
        assert main([*command(coco, server), "--model", "another"]) == 0
        assert len(server.requests) == 4
        printed = capsys.readouterr().out
        assert "replies: 2 requested, 0 reused" in printed
        assert f"tokens: {4 * PROMPT_TOKENS} in prompts, {4 * TOKENS} in replies{earlier}" in printed


def test_objects_of_equal_size_in_another_order_are_asked_about_again(tmp_path):
    """A stored reply names objects by the numbers that they had then."""
    coco = write_coco(tmp_path / "coco", pictures=1, sizes=(40, 24, 12, 12))
    with serving(good) as server:
        assert main(command(coco, server)) == 0
        content = json.loads(coco.read_text())
        content["annotations"][2:] = content["annotations"][:1:-1]  # the two spoons
        coco.write_text(json.dumps(content))
        asked = len(server.requests)
        assert main(command(coco, server)) == 0
        assert len(server.requests) == 2 * asked


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "Ctrl-C"])
def test_an_ended_process_goes_on_without_paying_twice(tmp_path, number):
    coco = write_coco(tmp_path / "coco", pictures=4)

    def replying(words, server):
        if len(server.requests) == 6:
            sleep(server, 60)  # the process ends in here
        return good(words, server)

    with serving(replying) as server:
        words = command(coco, server, "--repeats", "9")
        log = tmp_path / "log"
        with log.open("wb") as file:
            process = subprocess.Popen([sys.executable, "-m", "reasonseg_ros.cli", *words], stderr=file, env=os.environ)
        deadline_s = time.monotonic() + 300
        while len(server.requests) < 6 and time.monotonic() < deadline_s and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(60) == (-9 if number == signal.SIGKILL else 130)
        if number == signal.SIGINT:
            assert "reasonseg: interrupted; received replies are kept" in log.read_text()
            assert "Traceback" not in log.read_text()
            assert len(read_questions_file(tmp_path / "out")) >= 5
        paid = lines(tmp_path / "out/replies.jsonl")
        assert len(paid) == 5
        with (tmp_path / "out/replies.jsonl").open("ab") as file:
            file.write(b'{"key": "half a li')
        assert main(words) == 0
        assert len(server.requests) == 9  # eight replies, and the one that was under way
    replies = lines(tmp_path / "out/replies.jsonl")
    assert replies[:5] == paid
    assert len(replies) == 8
    assert len(read_questions_file(tmp_path / "out")) == 20
