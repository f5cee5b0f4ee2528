"""The table of candidates, on the shipped bag."""

from benchmarks import candidates
from reasonseg_ros.files.resources import resource


def test_a_run_ends_in_a_table_and_goes_on_where_it_was_stopped(tmp_path, monkeypatch, capsys):
    rows = tmp_path / "rows.jsonl"
    arguments = ["candidates", str(resource("demo/tabletop")), "--rows", str(rows), "--limit"]
    for limit in ("1", "2"):
        monkeypatch.setattr("sys.argv", [*arguments, limit])
        candidates.main()
        assert len(rows.read_text().splitlines()) == int(limit)
    table = capsys.readouterr().out
    assert "| **all** | 2 |" in table and "chosen - direct: " in table
    found = candidates.read(rows).values()
    assert all(row.oracle >= row.direct and len(row.ious) == len(row.sources) for row in found)
