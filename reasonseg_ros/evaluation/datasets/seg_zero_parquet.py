"""The parquet files that Seg-Zero and VisionReasoner are evaluated on: columns image, text, mask, image_id, ann_id.

`image` is an image file (bytes, or an object with `bytes`); `mask` is a list of rows of booleans. These files do not
store ignored pixels separately. They are part of the target, as the `seg_zero` protocol expects.
Source: Liu et al., Seg-Zero: Reasoning-Chain Guided Segmentation via Cognitive Reinforcement, 2025.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.evaluation.datasets.pictures import encoded_picture
from reasonseg_ros.evaluation.datasets.records import Item, LabelledQuestion, Picture, gather
from reasonseg_ros.types import BoolMask

COLUMNS = ("image", "text", "mask", "image_id", "ann_id")


def parquet_items(path: Path, split: str = "") -> list[Item]:
    """The rows of one parquet file, or of those in a folder whose names begin with `split`. Raises InvalidInput."""
    files = sorted(path.rglob(f"{split}*.parquet")) if path.is_dir() else [path]
    if not files:
        raise InvalidInput(f"{path} holds no file {split}*.parquet; choose another folder or --split")
    parquet = _parquet()
    items = []
    for file in files:
        try:
            content = parquet.ParquetFile(file)
        except (OSError, ValueError) as error:
            raise InvalidInput(f"{file} is no parquet file that can be read ({error}); get it again") from error
        with content:
            missing = [name for name in COLUMNS if name not in content.schema_arrow.names]
            if missing:
                raise InvalidInput(f"{file} lacks the columns {', '.join(missing)}; expected {', '.join(COLUMNS)}")
            for group in range(content.num_row_groups):
                rows = range(content.metadata.row_group(group).num_rows)
                items += [Item(f"{file.name}:{group}:{row}", (partial(_load, file, group, row),)) for row in rows]
    return items


@lru_cache(maxsize=1)
def _row_group(file: Path, group: int) -> Any:
    try:
        with _parquet().ParquetFile(file) as content:
            return content.read_row_group(group, columns=list(COLUMNS)).combine_chunks()
    except (OSError, ValueError) as error:
        raise InvalidInput(f"rows of group {group} of {file} cannot be read ({error}); get the file again") from error


def _load(file: Path, group: int, row: int) -> Picture:
    table = _row_group(file, group)
    image_id, ann_id, text, stored = (table[name][row].as_py() for name in ("image_id", "ann_id", "text", "image"))
    data = stored.get("bytes") if isinstance(stored, dict) else stored
    if not isinstance(data, bytes):
        raise InvalidInput("its image holds no bytes; use the data set with embedded images")
    image = encoded_picture(data, "its image")

    def question() -> LabelledQuestion:
        return LabelledQuestion(f"{image_id}-{ann_id}", str(text or ""), _mask(table["mask"][row]))

    return gather(image, [(f"question {image_id}-{ann_id}", question)])


def _mask(value: Any) -> BoolMask:
    rows = value.values if hasattr(value, "values") else None
    if rows is None or not hasattr(rows, "value_lengths"):
        raise InvalidInput(f"its mask is {value.type}; expected rows of booleans")
    widths = rows.value_lengths().to_numpy(zero_copy_only=False)
    if not len(widths) or not np.all(widths == widths[0]):
        raise InvalidInput("the rows of its mask differ in length; get the file again")
    pixels = rows.flatten().to_numpy(zero_copy_only=False)
    if pixels.dtype == object:
        raise InvalidInput("its mask has missing pixels; get the file again")
    mask: BoolMask = pixels.reshape(len(widths), int(widths[0])) > 0
    return mask


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InvalidInput("parquet files need pyarrow; pip install 'reasonseg_ros[evaluation]'") from error
    return pyarrow.parquet
