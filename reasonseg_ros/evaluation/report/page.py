"""Writes self-contained HTML pages from templates: outlines, pictures and JSON for scripts."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from reasonseg_ros.faults import naming
from reasonseg_ros.files.strict_json import json_text
from reasonseg_ros.files.whole_file import whole_file
from reasonseg_ros.types import BoolMask

_OUTLINE_TOLERANCE = 0.0015
"""An outline is simplified by at most this share of the image's diagonal."""


def write_page(path: Path, template: str, **values: Any) -> None:
    """Stream a page from a template of this folder to `path`. The file is replaced only when it is complete."""
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, "wb") as file:
        _environment().get_template(template).stream(**values).dump(file, "utf-8", "replace")


@cache
def _environment() -> Environment:
    """Cached, because compiling a template takes longer than rendering it."""
    environment = Environment(
        loader=PackageLoader("reasonseg_ros.evaluation.report", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["score"] = _score
    return environment


def script_json(values: Any) -> Markup:
    """JSON for a script element, escaped so that nothing in it ends the element."""
    text = json_text(values, compact=True)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def pictures_json(names: Iterable[str], folder: Path) -> Iterator[Markup]:
    """Name and JPEG of each picture in a folder. If the JPEG is missing it is empty, and the page says so.

    A path outside of the folder, or a file that is not a JPEG, counts as missing.
    """
    inside = folder.resolve()
    for name in names:
        data = ""
        try:
            path = (folder / name).resolve()
            found = path.read_bytes() if path.is_relative_to(inside) else b""
            data = base64.b64encode(found).decode() if found.startswith(b"\xff\xd8") else ""
        except (OSError, ValueError):
            pass
        yield script_json([name, data and f"data:image/jpeg;base64,{data}"])


def outline(mask: BoolMask) -> str:
    """The outlines of a mask and its holes as an SVG path, for the even-odd fill rule."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    tolerance_px = _OUTLINE_TOLERANCE * float(np.hypot(*mask.shape))
    paths = []
    for contour in found:
        points = cv2.approxPolyDP(contour, tolerance_px, True).reshape(-1, 2)
        paths.append("M" + "L".join(f"{x} {y}" for x, y in points) + "Z")
    return "".join(paths)


def _score(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
