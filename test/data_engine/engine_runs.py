"""The command of a run, and readers of its files."""

import json


def command(coco, server, *more):
    out = coco.parent.parent / "out"
    words = ["data", "from-coco", str(coco), "--images", str(coco.parent), "--out", str(out)]
    return [*words, "--url", server.url, "--model", "tester", "--at-once", "1", *more]


def asked_for(words):
    """Number of questions that a request asks for; 0 for a caption."""
    return int(words.split("\nWrite ")[1].split()[0]) if "\nWrite " in words else 0


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def reasons(out):
    return {line["text"]: "; ".join(line["reasons"]) for line in lines(out / "rejected.jsonl")}
