"""Malicious names and texts stay plain text everywhere, and malicious links redirect no output."""

import html.parser
import json
import shutil

import numpy as np
import pytest

from reasonseg_ros import cli
from reasonseg_ros.bags import mask_message
from reasonseg_ros.evaluation.result_lines import Results

SCRIPT = '"><img src=x onerror=alert(1)></script><script>alert(2)</script>'


NAMES = [
    "../../../tmp/escaped", "/etc/escaped", "a/../../escaped", "n" * 5000, "nul\0byte", "\x1b[2J\x1b]0;title\x07",
    "[/]", "[bold]x[/bold]", SCRIPT, "{{ 7 * 7 }}", "${jndi:x}", "con", ".", "..", "\u202etxt", "\ud55c\uae00", "",
]  # fmt: skip


class Elements(html.parser.HTMLParser):
    """Names of all elements of a page, and of their attributes that run something."""

    def __init__(self, text):
        super().__init__()
        self.names, self.handlers = {}, []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.names[tag] = self.names.get(tag, 0) + 1
        self.handlers += [name for name, _ in attributes if name.startswith("on") or name in ("src", "href")]


def files_under(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_names_of_a_bag_are_text_everywhere_and_no_paths(method, make_bag, samples_of, tmp_path, capsys):
    asked = [samples_of(name, kind=name, image=number) for number, name in enumerate(NAMES)]
    asked.append(samples_of("lost", kind="lost", image=len(NAMES)))

    def hurt(messages):
        message = next(m for topic, m, _ in messages if topic.endswith("truth") and m.query_id == "lost")
        object.__setattr__(message, "mask", mask_message(np.ones((3, 3), bool)))
        object.__setattr__(message, "query_id", SCRIPT + "\x1b[31m")
        return messages

    bag = make_bag(asked, change=hurt, name="bag [red]<b>")
    before = files_under(tmp_path)
    out = tmp_path / "out"
    assert cli.main(["evaluate", str(bag), "--out", str(out)]) == 1, "one ground truth is damaged"
    printed = capsys.readouterr()
    assert "\x1b[2J" not in printed.out + printed.err and "Traceback" not in printed.err
    new = files_under(tmp_path) - before
    assert all(name == "out" or name.startswith("out/") for name in new)
    assert {name.rpartition(".")[2] for name in new if "." in name} <= {"json", "jsonl", "html", "jpg"}
    assert len(Results(out)) == len(NAMES)
    assert cli.main(["compare", str(out), str(out), "--report", str(tmp_path / "compared.html")]) in (0, 1)
    for page in (out / "report.html", tmp_path / "compared.html"):
        text = page.read_text(encoding="utf-8")
        elements = Elements(text)
        assert "img" not in elements.names and elements.names["script"] == 3 and not elements.handlers
        assert "49" not in [cell.strip() for cell in text.split("{{ 7 * 7 }}")] and "\0" not in text


def test_pictures_of_a_report_come_from_its_folder_only(method, make_bag, samples_of, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["evaluate", str(make_bag([samples_of("a")])), "--out", str(out)]) == 0
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"\xff\xd8secret")
    results = out / "results.jsonl"
    picture = next(iter(Results(results).values())).image
    other = tmp_path / "copied"
    other.mkdir()
    shutil.copy(out / "settings.json", other)
    for name in ("../secret.jpg", str(secret), "results.jsonl", "x" * 5000, "nul\0"):
        (other / "results.jsonl").write_text(results.read_text().replace(json.dumps(picture), json.dumps(name)))
        page = tmp_path / "page.html"
        assert cli.main(["compare", str(other), str(results), "--report", str(page)]) == 0
        assert "data:image/jpeg;base64," not in page.read_text()


@pytest.mark.parametrize("name", ["results.jsonl", "images"])
def test_a_planted_link_is_not_followed(name, method, make_bag, samples_of, tmp_path, capsys):
    bag, out, outside = make_bag([samples_of("a")]), tmp_path / "out", tmp_path / "outside"
    out.mkdir()
    outside.mkdir()
    (out / name).symlink_to(outside if name == "images" else outside / "new")
    assert cli.main(["evaluate", str(bag), "--out", str(out)]) == cli.USAGE_ERROR
    assert "symbolic link" in capsys.readouterr().err and not list(outside.iterdir())


@pytest.mark.parametrize("name", ["settings.json", "results.json", "summary.json", "report.html"])
def test_a_result_takes_the_place_of_a_planted_link(name, method, make_bag, samples_of, tmp_path):
    bag, out, outside = make_bag([samples_of("a")]), tmp_path / "out", tmp_path / "outside"
    out.mkdir()
    outside.write_text("as it was")
    (out / name).symlink_to(outside)
    assert cli.main(["evaluate", str(bag), "--out", str(out)]) == 0
    assert outside.read_text() == "as it was" and not (out / name).is_symlink()
