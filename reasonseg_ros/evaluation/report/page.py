"""An HTML page in one file that needs nothing else: its template, and what of a run is put into it."""

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
    """Write a page from a template of this folder, piece by piece; it takes its place when it is complete."""
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, "wb") as file:
        _environment().get_template(template).stream(**values).dump(file, "utf-8", "replace")


@cache
def _environment() -> Environment:
    """It compiles each template once, which takes longer than filling it."""
    environment = Environment(
        loader=PackageLoader("reasonseg_ros.evaluation.report", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["score"] = _score
    return environment


def script_json(values: Any) -> Markup:
    """JSON for inside a script element: nothing in it may end the element."""
    text = json_text(values, compact=True)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


def pictures_json(names: Iterable[str], folder: Path) -> Iterator[Markup]:
    """Name and JPEG of each picture in a folder; the JPEG is empty if it is gone, and the page says so.

    A name that leads out of the folder, or a file that is no JPEG, is none of its pictures.
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
    """The outlines of a mask and its holes as an SVG path, to be filled by the even-odd rule."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    tolerance_px = _OUTLINE_TOLERANCE * float(np.hypot(*mask.shape))
    paths = []
    for contour in found:
        points = cv2.approxPolyDP(contour, tolerance_px, True).reshape(-1, 2)
        paths.append("M" + "L".join(f"{x} {y}" for x, y in points) + "Z")
    return "".join(paths)


def _score(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
