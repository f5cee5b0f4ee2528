"""Assigns pictures to splits by their content, so that equal images are always in the same split."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence

from reasonseg_ros.errors import InvalidInput

SHARES: Mapping[str, float] = {"train": 0.8, "val": 0.1, "test": 0.1}
SPLIT_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


def split_of(digest: str, shares: Mapping[str, float], seed: int = 0) -> str:
    """The split of the image with that digest, the same in every run. `shares` by split name add up to 1."""
    draw = int.from_bytes(hashlib.sha256(f"{seed} {digest}".encode()).digest()[:8], "big") / 2**64
    reached = 0.0
    for name, share in shares.items():
        reached += share
        if draw < reached:
            return name
    return [name for name, share in shares.items() if share > 0][-1]


def read_shares(texts: Sequence[str]) -> dict[str, float]:
    """Shares from texts such as `train=0.8`. Raises InvalidInput if they do not add up to 1."""
    shares: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if not SPLIT_NAME.fullmatch(name) or name in shares or not 0 <= share <= 1:
            raise InvalidInput(f"--splits {text[:80]!r}; expected NAME=SHARE such as train=0.8, each name once")
        shares[name] = share
    if not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
        raise InvalidInput(f"--splits add up to {sum(shares.values()):g}; expected 1")
    return shares
