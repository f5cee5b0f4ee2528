"""Files that come with the package: in the source tree, or installed under `share/reasonseg_ros`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from reasonseg_ros.errors import InvalidInput


def resource(name: str) -> Path:
    """Folder or file `name` (for example `msg` or `config/fastdds_shm.xml`). Raises InvalidInput if there is none.

    The source tree comes first, then the prefixes of a ROS workspace, then the Python environment.
    """
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    roots = [Path(prefix, "share", "reasonseg_ros") for prefix in prefixes]
    source = Path(__file__).resolve().parents[2]
    if (source / "package.xml").is_file():  # otherwise it is site-packages, with folders of other packages
        roots.insert(0, source)
    for root in roots:
        if (root / name).exists():
            return root / name
    raise InvalidInput(f"{name} is in none of {', '.join(map(str, roots))}; install the package again")
