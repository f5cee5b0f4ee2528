"""Mutation testing: changes one operator, comparison or number of a module at a time and runs the module's tests.

    python scripts/mutate.py [--sample 60] [--seed 0] [--jobs 2] [MODULE ...]

A mutant that the tests do not notice survives and is printed. Cosmic Ray makes the mutants. Each runs in a fork of one
process that has imported the libraries and pytest, which takes a second instead of five. No file is changed.
"""

from __future__ import annotations

import argparse
import difflib
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DIALECTS = ("test/reasoner/dialects", "test/reasoner/test_dialect_properties.py")
TESTS = {
    "reasonseg_ros.geometry": ("test/test_geometry.py",),
    "reasonseg_ros.space.points": ("test/space/test_points.py",),
    "reasonseg_ros.images.mask_codec": ("test/images/test_mask_codec.py",),
    "reasonseg_ros.evaluation.scoring.metrics": ("test/evaluation/scoring/test_metrics.py",),
    **{f"reasonseg_ros.reasoner.dialects.{name}": DIALECTS
       for name in ("absence", "blocks", "fields", "json_text", "parsing", "strict")},
}  # fmt: skip
BINARY = "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_Mul Pow_Mul BitAnd_BitOr BitXor_BitAnd"
COMPARISONS = "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is"
OPERATORS = (
    *(f"ReplaceBinaryOperator_{pair}" for pair in BINARY.split()),
    *(f"ReplaceComparisonOperator_{pair}" for pair in COMPARISONS.split()),
    "ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd", "AddNot",
    "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "NumberReplacer", "ZeroIterationForLoop",
)  # fmt: skip
"""Cosmic Ray's operators without those that make many mutants in one place or change only annotations."""


@dataclass(frozen=True)
class Mutant:
    module: str
    path: Path
    operator: str
    source: str

    def difference(self) -> str:
        lines = difflib.unified_diff(self.path.read_text().splitlines(), self.source.splitlines(), lineterm="", n=0)
        changed = [line for line in lines if not line.startswith(("---", "+++"))]
        return "\n    ".join(changed)


def mutants(module: str) -> Iterator[Mutant]:
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    path = ROOT / f"{module.replace('.', '/')}.py"
    source = path.read_text()
    for name in OPERATORS:
        occurrence = 0
        while mutated := mutate_code(source, get_operator(f"core/{name}")(), occurrence):
            yield Mutant(module, path, name, mutated)
            occurrence += 1


class Loader(importlib.machinery.SourceFileLoader):
    """Finds one module and loads it from a text instead of its file."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(mutant.module, str(mutant.path))
        self.source = mutant.source

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.source, self.path, "exec")

    def find_spec(self, name: str, *_: Any) -> Any:
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None


def start(mutant: Mutant) -> int:
    """Run the tests of the mutant's module in a fork. Returns its process id; exit status 0 means that all pass."""
    if process := os.fork():
        return process
    status = 1
    try:
        os.setsid()
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        sys.meta_path.insert(0, Loader(mutant))
        import pytest

        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # this process imported pytest's plug-ins
        status = int(pytest.main([*options, *TESTS[mutant.module]]))
    finally:
        os._exit(status)


def run(chosen: list[Mutant], jobs: int, limit_s: float) -> list[Mutant]:
    """The mutants whose tests pass. One that takes longer than the limit counts as noticed."""
    waiting, running, survivors = chosen[::-1], {}, []
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            running[start(mutant)] = (mutant, time.monotonic() + limit_s)
        time.sleep(0.02)
        for process, (mutant, deadline_s) in list(running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if not ended and time.monotonic() > deadline_s:
                os.killpg(process, signal.SIGKILL)
                ended, status = os.waitpid(process, 0)
            if ended:
                del running[process]
                if status == 0:
                    survivors.append(mutant)
    return survivors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="default: all of TESTS")
    parser.add_argument("--sample", type=int, default=60, help="mutants per module; 0: all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at the same time (default: %(default)s)")
    chosen = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    # Imports that the forks share. Each fork imports the package itself.
    import cv2  # noqa: F401
    import hypothesis  # noqa: F401
    import pytest  # noqa: F401
    import scipy  # noqa: F401

    total = noticed = 0
    for module in chosen.modules or TESTS:
        path = ROOT / f"{module.replace('.', '/')}.py"
        start_s = time.monotonic()
        if not run([Mutant(module, path, "none", path.read_text())], 1, 600.0):
            raise SystemExit(f"the tests of {module} fail without a mutation")
        limit_s = 10 + 5 * (time.monotonic() - start_s)
        made = list(mutants(module))
        drawn = random.Random(chosen.seed).sample(made, chosen.sample) if 0 < chosen.sample < len(made) else made
        survivors = run(drawn, chosen.jobs, limit_s)
        total, noticed = total + len(drawn), noticed + len(drawn) - len(survivors)
        print(f"{module}: {len(drawn) - len(survivors)} of {len(drawn)} noticed ({len(made)} possible)", flush=True)
        for mutant in survivors:
            print(f"    {mutant.operator}\n    {mutant.difference()}", flush=True)
    print(f"score {noticed / max(total, 1):.1%}: {noticed} of {total} mutants noticed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
