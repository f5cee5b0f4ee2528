"""A few questions of the embedded models, recorded once: every local backend still gives the same answers."""

import pytest

from reasonseg_ros import cli
from reasonseg_ros.commands.replay import BACKENDS
from reasonseg_ros.recording.reading import read_black_boxes
from test.recording.make_conformance import CONFORMANCE


@pytest.mark.parametrize("backend", sorted(BACKENDS))
def test_every_local_backend_gives_the_recorded_answers(backend, capsys):
    if backend == "torch":
        pytest.importorskip("torch")
    status = cli.main(["replay", str(CONFORMANCE), "--backend", backend])
    output = capsys.readouterr().out
    assert status == 0, output
    assert "5 answers" in output


def test_the_set_is_small_and_has_different_answers():
    assert CONFORMANCE.stat().st_size < 300_000
    answers = {box.query.query_id: box.segmentation.answer for box in read_black_boxes(CONFORMANCE)}
    assert {query_id: str(answer.status) for query_id, answer in answers.items()} == {
        "30000302-0": "ok", "30000305-0": "ok", "30000306-0": "no_target", "unknown": "no_target",
        "unsure": "unsure",
    }  # fmt: skip
    assert len(answers["30000305-0"].groundings) > 1
