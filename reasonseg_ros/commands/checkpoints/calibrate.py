"""`reasonseg calibrate`: fits a reasoner's `confidence.json` on evaluated questions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import share
from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.outputs import add_output


def register(verbs: Any) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser(
        "calibrate",
        help="fit the confidence of a reasoner's answers",
        description="Fit the probability that an answer means the right targets, from runs of `reasonseg evaluate` "
        "with ground truth, and write it as confidence.json. Copy the file beside the checkpoint; for a model behind a "
        "server, name it by reasoner.confidence_file. Evaluate other "
        "questions than those that the accuracy is reported on. AUROC and calibration error are cross-validated.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of an evaluation")
    parser.add_argument(
        "--model", default="tabletop-reasoner", metavar="NAME",
        help="the reasoner that was evaluated: model card or folder (default: %(default)s)",
    )  # fmt: skip
    threshold = parser.add_mutually_exclusive_group()
    threshold.add_argument(
        "--min-confidence", type=share, default=0.5, metavar="P",
        help="threshold below which answers are unsure; answer.min_confidence overrides it (default: %(default)s)",
    )  # fmt: skip
    threshold.add_argument(
        "--max-lost", type=share, metavar="SHARE",
        help="choose the highest threshold that makes at most this share of the right answers unsure",
    )  # fmt: skip
    add_output(parser, "--out", "file", metavar="FILE", default=Path("confidence.json"), help="(default: %(default)s)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    from reasonseg_ros.engine.export_folder import weights_sha256
    from reasonseg_ros.evaluation.calibrating import check_answered_by, fit, read_examples, served_model
    from reasonseg_ros.files.strict_json import json_text
    from reasonseg_ros.files.whole_file import whole_file
    from reasonseg_ros.model_card import load_card
    from reasonseg_ros.reasoner.vocabulary import Vocabulary

    card = load_card(arguments.model, "reasoner")
    served = served_model(arguments.runs, card)
    digest = weights_sha256(Path(card.source)) if card.is_folder and not served else ""
    if not digest and not served:
        raise InvalidInput(f"the weights of {arguments.model} are not in a folder here; download them and name it")
    check_answered_by(arguments.runs, card, digest)
    vocabulary = Vocabulary(Path(card.vocabulary)) if card.vocabulary else None
    examples = read_examples(arguments.runs, vocabulary)
    if served and not examples:
        raise InvalidInput(
            "no answer of these runs has an entropy: the server listed no log-probabilities, or answered nothing; see "
            "docs/models.md, Servers that were tried"
        )
    calibration = fit(examples, digest, arguments.min_confidence, served, arguments.max_lost)
    with whole_file(arguments.out) as file:
        file.write(json_text(calibration.to_json(), indent=2) + "\n")
    print(
        f"{calibration.questions} questions: AUROC {calibration.auroc:.3f}, calibration error "
        f"{calibration.calibration_error:.3f} (cross-validated); unsure below {calibration.min_confidence:g}; wrote "
        f"{arguments.out}"
    )
    return 0
