"""What pyproject.toml cannot say: parameters, demo bag, models and message texts go into share/reasonseg_ros."""

import sys
from collections import defaultdict
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


def share_files() -> list[tuple[str, list[str]]]:
    folders = defaultdict(list)
    for top in ("config", "demo", "models", "msg"):
        for path in sorted((ROOT / top).rglob("*")):
            if path.is_file():
                relative = path.relative_to(ROOT)
                folders[f"share/reasonseg_ros/{relative.parent.as_posix()}"].append(relative.as_posix())
    return list(folders.items())


# An editable install reads them from the source tree; a copy beside it would only grow old.
setup(data_files=[] if "editable_wheel" in sys.argv else share_files())
