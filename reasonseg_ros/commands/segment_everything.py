"""`reasonseg segment-everything`: masks of everything in an image file, without a question."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from reasonseg_ros.commands.options import size_wh
from reasonseg_ros.files.outputs import IMAGE_ENDINGS, add_output


def register(verbs: Any) -> None:
    parser = verbs.add_parser(
        "segment-everything",
        help="segment everything in an image file, without a question",
        description="Segment everything in an image file (SAM's everything mode). The model is prompted with "
        "a grid of points, and the best of nearly equal masks is kept. Prints one line per mask, the largest first.",
    )
    parser.add_argument("image", type=Path, help="image file")
    add_output(parser, "--out", "file", IMAGE_ENDINGS, help="write the image with the masks drawn on it")
    add_output(parser, "--json", "file", (".json",), help="write the masks as COCO run lengths, one record each")
    parser.add_argument("--segmenter", help="segmenter: model card, folder or hub id")
    parser.add_argument("--device", help="device, for example cpu or cuda:0")
    parser.add_argument(
        "--grid", type=size_wh, metavar="WxH", help="points across and down (default: 32x32; embedded segmenter: 14x10)"
    )
    parser.set_defaults(run=run)


def run(settings: argparse.Namespace) -> int:
    import numpy as np

    from reasonseg_ros.config import config_from
    from reasonseg_ros.images.files import read_image, write_image
    from reasonseg_ros.methods.proposing import proposal_regions
    from reasonseg_ros.segmenter.everything import Everything
    from reasonseg_ros.segmenter.loading import load_segmenter

    rgb = read_image(settings.image)
    chosen = {"segmenter.model": settings.segmenter, "segmenter.device": settings.device}
    config = config_from({name: value for name, value in chosen.items() if value}).segmenter
    everything = Everything(load_segmenter(config), grid_wh=settings.grid)
    features = everything.segmenter.encode(rgb)
    proposals = everything.propose(features, _show_progress)
    regions = proposal_regions(everything, features, proposals, np.arange(len(proposals)), config)
    records = [_record(region, proposals.stabilities[row], proposals.points_xy[row]) for row, region in regions.items()]
    for record in records:
        print(json.dumps({name: value for name, value in record.items() if name != "segmentation"}))
    if settings.json:
        _write_json(settings.json, records)
    if settings.out:
        from reasonseg_ros.images.overlays.drawing import draw

        write_image(settings.out, draw(rgb, list(regions.values())))
    if not regions:
        height, width = rgb.shape[:2]
        print(f"no masks in this image of {width}x{height} pixels; try a finer --grid", file=sys.stderr)
    return 0 if regions else 1


def _record(region: Any, stability: float, point_xy: Any) -> dict[str, Any]:
    """A record with the keys of SAM's everything mode; the box is x, y, width, height as in COCO."""
    from reasonseg_ros.images.run_lengths import encode_rle

    x1, y1, x2, y2 = (float(value) for value in region.box_xyxy)
    return {
        "segmentation": {"size": list(region.mask.shape), "counts": encode_rle(region.mask).tolist()},
        "area": int(region.mask.sum()),
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "predicted_iou": round(region.mask_score, 4),
        "stability_score": round(float(stability), 4),
        "point_coords": [[round(float(value), 1) for value in point_xy]],
    }


def _write_json(path: Path, records: list[dict[str, Any]]) -> None:
    from reasonseg_ros.files.strict_json import json_text
    from reasonseg_ros.files.whole_file import whole_file

    with whole_file(path) as file:
        file.write(json_text(records) + "\n")


def _show_progress(asked: int, of: int) -> None:
    """Progress on a terminal. With a published checkpoint, 1024 points take a minute on a CPU."""
    if sys.stderr.isatty():
        print(f"\r{asked} of {of} points", end="\n" if asked == of else "", file=sys.stderr, flush=True)
