"""Evaluates a method on the questions and the ground truth of a bag.

    python examples/04_evaluate_a_bag.py demo/tabletop out/evaluation

Results are appended to OUT/results.jsonl. A second run with the same folder answers only what is missing.
`reasonseg evaluate` does the same and writes a report.
"""

import sys
from pathlib import Path

from reasonseg_ros import Scoring, config_from, evaluate, load_method, read_clips


def main(bag: str, out: str, limit: str = "0") -> int:
    Path(out).mkdir(parents=True, exist_ok=True)
    method = load_method(config_from({"method": "seg_zero", "reasoner.known_picture": "never"}))
    run = evaluate(read_clips(Path(bag)), method, Path(out), Scoring(), int(limit))
    for sample_id, row in zip(run.ids, run.rows, strict=True):
        print(f"{sample_id}: IoU {row.score.iou:.3f}" if row.score else f"{sample_id}: no ground truth")
    scores = [row.score.iou for row in run.rows if row.score]
    print(f"gIoU {sum(scores) / len(scores):.3f} of {len(scores)} questions; {run.failed} could not be read")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
