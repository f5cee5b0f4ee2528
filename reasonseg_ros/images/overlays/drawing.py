"""Drawings of an answer: outlined masks on the image, and a caption below."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from reasonseg_ros.images.overlays.caption import Entry, caption
from reasonseg_ros.types import Answer, BoolMask, FloatArray, Region, RgbImage, Status

PALETTE_RGB = np.array(
    [
        (230, 25, 75),
        (60, 180, 75),
        (0, 130, 200),
        (245, 130, 48),
        (145, 30, 180),
        (70, 240, 240),
        (240, 50, 230),
        (210, 245, 60),
        (0, 128, 128),
        (255, 225, 25),
    ],
    np.uint8,
)
"""Colours of the first, second, ... region, easy to distinguish."""

FILL_ALPHA = 0.12
"""Opacity of the fill. It is low, so that the target's colour stays recognisable."""

_CLEAR_LAB = 60.0
"""Minimum distance in CIELAB of colours that are easy to distinguish."""
_STATISTICS_PX = 256
"""Maximum side of the picture in which the colours around a mask are measured."""


def draw(rgb: RgbImage, regions: Sequence[Region], alpha: float = FILL_ALPHA) -> RgbImage:
    """A copy of uint8 [H, W, 3] with each mask's outline, a fill of opacity `alpha`, and the grounding's points.

    No text is drawn. Tracked targets that are not visible are not drawn.
    """
    return _drawn(rgb, regions, colours(rgb, regions), alpha)


def draw_answer(
    rgb: RgbImage, regions: Sequence[Region], question: str, answer: Answer, alpha: float = FILL_ALPHA
) -> RgbImage:
    """The image with its regions, and a caption with the question, the thought or error, and the regions' names.

    The caption is below the image, so pixel coordinates stay valid. Its height depends only on the size of the image,
    so all frames of a video have the same size. Narrow images have no caption.
    """
    chosen = colours(rgb, regions)
    picture = _drawn(rgb, regions, chosen, alpha)
    entries = [
        Entry(tuple(int(value) for value in colour_rgb), _name(number, region))
        for number, (region, colour_rgb) in enumerate(zip(regions, chosen, strict=True), 1)
    ]
    status = "" if answer.status is Status.OK else str(answer.status)
    text = answer.thought if answer.status.has_regions else answer.error or answer.thought
    return np.vstack([picture, caption((rgb.shape[1], rgb.shape[0]), question, text, status, tuple(entries))])


def answer_title(question: str, answer: Answer) -> str:
    """An answer as plain text: the question, then the thought or the error."""
    if answer.status is Status.OK:
        return f"{question}\n{answer.thought}"
    return f"{question}\n[{answer.status}] {answer.error or answer.thought}"


def colours(rgb: RgbImage, regions: Sequence[Region]) -> list[np.ndarray]:
    """A colour for each region, uint8 [3]: the palette's next one that contrasts with the target and its surroundings.

    If none does, the one with the most contrast. Colours repeat only when the palette is used up.
    """
    chosen: list[np.ndarray] = []
    left: list[int] = []
    near = _Surroundings(rgb)
    for index, region in enumerate(regions):
        left = left or list(range(len(PALETTE_RGB)))
        first = index % len(PALETTE_RGB)
        order = sorted(left, key=lambda colour: (colour - first) % len(PALETTE_RGB))
        contrast = near.contrast(region.mask)
        best = next((one for one in order if contrast[one] >= _CLEAR_LAB), max(order, key=lambda one: contrast[one]))
        left.remove(best)
        chosen.append(PALETTE_RGB[best])
    return chosen


class _Surroundings:
    """The downscaled picture in CIELAB, for comparison with the palette."""

    def __init__(self, rgb: RgbImage) -> None:
        self.scale = min(1.0, _STATISTICS_PX / max(rgb.shape[:2]))
        size_wh = tuple(max(1, round(side * self.scale)) for side in (rgb.shape[1], rgb.shape[0]))
        self.size_wh = size_wh[0], size_wh[1]
        small = cv2.resize(rgb, self.size_wh, interpolation=cv2.INTER_AREA)
        self.lab = _lab(small)
        self.palette_lab = _lab(PALETTE_RGB[None])[0]

    def contrast(self, mask: BoolMask) -> FloatArray:
        """Distance of each palette colour from the mean colours in and around the mask, whichever is nearer."""
        small = cv2.resize(mask.astype(np.uint8), self.size_wh, interpolation=cv2.INTER_AREA)
        if not small.any():
            return np.full(len(PALETTE_RGB), np.inf, np.float32)
        ring = cv2.dilate(small, np.ones((9, 9), np.uint8)) & ~small & 1
        means = [np.asarray(cv2.mean(self.lab, part)[:3]) for part in (small, ring) if part.any()]
        distances = [np.linalg.norm(self.palette_lab - mean, axis=1) for mean in means]
        return np.asarray(np.min(distances, axis=0), np.float32)


def _lab(rgb: RgbImage) -> FloatArray:
    lab: FloatArray = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
    return lab


def _drawn(rgb: RgbImage, regions: Sequence[Region], chosen: Sequence[np.ndarray], alpha: float) -> RgbImage:
    picture: RgbImage = rgb.copy()
    for region, colour_rgb in zip(regions, chosen, strict=True):
        _fill(picture, region.mask, colour_rgb, alpha)
    for region, colour_rgb in zip(regions, chosen, strict=True):
        _outline(picture, region.mask, colour_rgb)
        # The points of a tracked target belong to an earlier image.
        for point_xy in region.grounding.points_xy if region.track_state in ("", "new") else ():
            _mark(picture, point_xy, colour_rgb)
    return picture


def _fill(picture: RgbImage, mask: BoolMask, colour_rgb: np.ndarray, alpha: float) -> None:
    x, y, width, height = cv2.boundingRect(mask.astype(np.uint8))
    part, marked = picture[y : y + height, x : x + width], mask[y : y + height, x : x + width]
    if marked.size:
        tinted = cv2.addWeighted(part, 1 - alpha, np.full_like(part, colour_rgb), alpha, 0)
        np.copyto(part, tinted, where=marked[..., None])


def _outline(picture: RgbImage, mask: BoolMask, colour_rgb: np.ndarray) -> None:
    """Draw a coloured outline with a thin edge, dark beside light colours and light beside dark ones."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    line_px = _line_px(picture)
    cv2.drawContours(picture, outlines, -1, _edge(colour_rgb), line_px + 2, cv2.LINE_AA)
    cv2.drawContours(picture, outlines, -1, colour_rgb.tolist(), line_px, cv2.LINE_AA)


def _mark(picture: RgbImage, point_xy: FloatArray, colour_rgb: np.ndarray) -> None:
    centre = round(float(point_xy[0])), round(float(point_xy[1]))
    radius = _line_px(picture) + 1
    cv2.circle(picture, centre, radius + 1, colour_rgb.tolist(), cv2.FILLED, cv2.LINE_AA)
    cv2.circle(picture, centre, radius, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)


def _edge(colour_rgb: np.ndarray) -> tuple[int, int, int]:
    is_light = float(_lab(colour_rgb[None, None])[0, 0, 0]) > 60
    return (20, 20, 20) if is_light else (245, 245, 245)


def _name(number: int, region: Region) -> str:
    state = f" ({region.track_state})" if region.track_state in ("occluded", "lost") else ""
    return f"{region.label or f'region {number}'} {region.mask_score:.2f}{state}"


def _line_px(picture: RgbImage) -> int:
    return max(1, round(float(min(picture.shape[:2])) / 270))
