"""Errors of 3D boxes against ground truth, on tabletop bags with depth.

    reasonseg tabletop bag --seed 20005000 --scenes 120 --questions 3 \\
        --kinds function attribute relation comparison part --out out/space
    python -m benchmarks.spatial_accuracy out/space [--segment]

Only questions with one target count, so that mask and box belong together. Each row combines a kind of mask with a kind
of depth image. Masks are the true ones, true ones grown by two pixels, and with --segment those of the embedded
segmenter for the true box. Depth is as rendered, or like a sensor's: noise that grows with the square of the distance,
whole millimetres, blurred edges, and holes along edges and at random.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from reasonseg_ros.bags import BagReader, header_stamp_ns
from reasonseg_ros.geometry import rotation_matrix
from reasonseg_ros.images import messages as images
from reasonseg_ros.images.mask_codec import decode_mask
from reasonseg_ros.space.points import back_projected, surface_of
from reasonseg_ros.spatial import OrientedBox, Surface
from reasonseg_ros.types import BoolMask, FloatArray, Frame, Grounding

MIN_VALID_SHARE = 0.3
NOISE_AT_1_M = 0.0015
SPILL_PX = 2


@dataclass(frozen=True, eq=False)
class Target:
    frame: Frame
    kind: str
    mask: BoolMask
    box_xyxy: FloatArray
    truth: OrientedBox


def targets(path: Path) -> Iterator[Target]:
    frames: dict[int, Frame] = {}
    latest: dict[str, Any] = {}
    with BagReader(path) as bag:
        for topic, _, message in bag.messages():
            latest[topic] = message
            if topic == "/camera/depth":
                depth_m = images.depth_from_image(message)
                image, info = latest["/camera/image"], latest["/camera/camera_info"]
                frames = {header_stamp_ns(message.header): images.frame_from_message(image, depth_m, info)}
            elif topic == "/reasonseg/ground_truth" and len(message.boxes_3d) == 1:
                pose, size = message.boxes_3d[0].pose, message.boxes_3d[0].size
                quat = [getattr(pose.orientation, axis) for axis in "xyzw"]
                center, sides = (np.array([getattr(v, axis) for axis in "xyz"]) for v in (pose.position, size))
                box = message.boxes[0]
                yield Target(
                    frames[header_stamp_ns(message.header)],
                    message.kind,
                    decode_mask(message.mask),
                    np.array([box.x1, box.y1, box.x2, box.y2], np.float32),
                    OrientedBox(center, rotation_matrix(quat), sides),
                )


def like_a_sensor(depth_m: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The depth image as a stereo camera might measure it."""
    near = cv2.erode(depth_m, np.ones((3, 3), np.uint8))
    far = cv2.dilate(depth_m, np.ones((3, 3), np.uint8))
    edges = far - near > 0.02 * near
    blurred = np.where(edges, cv2.blur(depth_m, (3, 3)), depth_m)
    noisy = blurred + rng.normal(0, NOISE_AT_1_M, depth_m.shape) * blurred**2
    holes = rng.random(depth_m.shape) < np.where(edges, 0.3, 0.03)
    return np.where(holes, 0, np.round(noisy * 1000) / 1000).astype(np.float32)


def errors(target: Target, surface: Surface) -> dict[str, float]:
    """The errors of a surface against the truth, in millimetres.

    `middle`: from the box's middle to the true box's. `centroid`: from the centroid to the true mean of the visible
    points. `centroid to middle`: from the centroid to the true box's middle, so it includes the distance of the visible
    side from the middle. Sides are compared in order of length.
    """
    box, truth = surface.box, target.truth
    if box is None:
        return {}
    depth_m, lens = target.frame.depth_m, target.frame.intrinsics
    assert depth_m is not None and lens is not None
    seen = back_projected(depth_m, target.mask, lens).mean(0)
    sides = np.abs(np.sort(box.size_m) - np.sort(truth.size_m))
    return {
        "middle": 1000 * float(np.linalg.norm(box.center_m - truth.center_m)),
        "centroid": 1000 * float(np.linalg.norm(surface.centroid_m - seen)),
        "centroid to middle": 1000 * float(np.linalg.norm(surface.centroid_m - truth.center_m)),
        "longest side": 1000 * float(sides[2]),
        "shortest side": 1000 * float(sides[0]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bag", type=Path)
    parser.add_argument("--segment", action="store_true", help="also with the embedded segmenter's masks")
    options = parser.parse_args()
    method = None
    if options.segment:
        from reasonseg_ros.config import Config
        from reasonseg_ros.methods.loading import load_method

        method = load_method(Config(method="seg_zero"))
    rng = np.random.default_rng(0)
    found: dict[tuple[str, str], list[tuple[Target, Surface, dict[str, float]]]] = defaultdict(list)
    seconds = []
    kernel = np.ones((2 * SPILL_PX + 1,) * 2, np.uint8)
    for target in targets(options.bag):
        masks = {"true": target.mask, "spilled": cv2.dilate(target.mask.astype(np.uint8), kernel).astype(bool)}
        if method is not None:
            masks["segmented"] = method.prompt(target.frame, (Grounding(target.box_xyxy),)).regions[0].mask
        assert target.frame.depth_m is not None
        noisy = replace(target.frame, depth_m=like_a_sensor(target.frame.depth_m, rng))
        for depth, frame in (("rendered", target.frame), ("like a sensor's", noisy)):
            for name, mask in masks.items():
                start_s = time.process_time()
                surface = surface_of(frame, mask, MIN_VALID_SHARE)
                seconds.append(time.process_time() - start_s)
                assert surface is not None
                found[name, depth].append((target, surface, errors(target, surface)))
    names = ("middle", "centroid", "centroid to middle", "longest side", "shortest side")
    print(f"| mask, depth | targets | boxes | on a support | {' | '.join(names)} |")
    print("|---" * (4 + len(names)) + "|")
    for (mask, depth), rows in found.items():
        for label, chosen in (
            ("objects", [r for r in rows if r[0].kind != "part"]),
            ("parts", [r for r in rows if r[0].kind == "part"]),
        ):
            boxed = [row for _, _, row in chosen if row]
            supported = sum(surface.is_supported for _, surface, _ in chosen)
            cells = [np.percentile([row[name] for row in boxed], (50, 90)) for name in names]
            text = " | ".join(f"{median:.1f} / {most:.1f}" for median, most in cells)
            print(f"| {label}, {mask} mask, {depth} | {len(chosen)} | {len(boxed)} | {supported} | {text} |")
    print(
        "\nMillimetres, median / 90 %.",
        f"{1000 * np.median(seconds):.1f} ms of CPU per region, median, "
        f"{1000 * np.percentile(seconds, 95):.1f} ms at 95 %.",
    )


if __name__ == "__main__":
    main()
