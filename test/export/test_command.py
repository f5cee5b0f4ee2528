from __future__ import annotations

import sys
from pathlib import Path

import pytest

from reasonseg_ros.cli import main


def test_what_goes_wrong_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert main(["export", "segmenter", "--model", "tabletop-segmenter", "--size", "100", *out]) == 2
    assert "reasonseg: size 100; expected a multiple of 32" in capsys.readouterr().err
    assert main(["export", "segmenter", "--model", str(tmp_path / "none.pt"), *out]) == 2
    assert "none.pt is not there" in capsys.readouterr().err
    assert main(["export", "segmenter", "--model", "tabletop-reasoner", *out]) == 2
    assert "is a reasoner; expected a segmenter" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_named_with_the_way_to_install_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("graphs", "int8", "segmenter"):
        monkeypatch.delitem(sys.modules, f"reasonseg_ros.export.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", "segmenter", "--model", "tabletop-segmenter", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "onnx" in error and "pip install 'reasonseg_ros[export,engine]'" in error
