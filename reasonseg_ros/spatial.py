"""Values in space: the lens and the pose of a camera, and what is seen of a target.

Frozen, as those of `types`. Metres; frames as in REP-103: z forward, x right, y down for a camera.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Intrinsics:
    """How a camera maps rays to the pixels of its image; pixel centres lie at whole numbers. `lens` computes with it.

    Attributes:
        fx_px, fy_px, cx_px, cy_px: focal lengths and principal point.
        distortion: coefficients in OpenCV's order and number (4, 5, 8 or 12; fisheye: 4); empty for an ideal
            pinhole.
        is_fisheye: equidistant projection, OpenCV's fisheye model; needs its 4 coefficients, also if they are 0.
        camera_from_lens: rotation matrix [3, 3], row by row, from the frame of the rays to the camera's optical frame,
            which differ for rectified images; empty if they are the same.
    """

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    distortion: tuple[float, ...] = ()
    is_fisheye: bool = False
    camera_from_lens: tuple[float, ...] = ()

    @property
    def is_distorted(self) -> bool:
        return self.is_fisheye or any(self.distortion)

    @property
    def rotation(self) -> NDArray[np.float64]:
        """`camera_from_lens` as float64 [3, 3]."""
        return np.array(self.camera_from_lens).reshape(3, 3) if self.camera_from_lens else np.eye(3)


@dataclass(frozen=True, eq=False)
class CameraPose:
    """Where the camera was when it took an image.

    Attributes:
        frame_id: the frame that results in space are wanted in.
        target_from_camera: float64 [4, 4], the optical frame's pose in it.
    """

    frame_id: str
    target_from_camera: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OrientedBox:
    """A box in space.

    Attributes:
        center_m: float64 [3].
        rotation: float64 [3, 3]; its columns are the box's axes. On a support, z is the support's normal and x lies
            along the longer side; else x is the longest and z the shortest axis.
        size_m: float64 [3], side lengths along the axes.
    """

    center_m: NDArray[np.float64]
    rotation: NDArray[np.float64]
    size_m: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Surface:
    """What the depth image shows of a region.

    Attributes:
        frame_id: of all coordinates.
        points_m: float32 [N, 3], outliers removed, thinned for large masks; none if there is no box.
        pixels_xy: int32 [N, 2], the pixel of each point.
        valid_share: share of the mask's pixels whose depth is known, 0 to 1.
        centroid_m: float64 [3], mean of the points. It lies on the visible side; the target's middle is the box's.
        box: None if too little depth is known.
        is_supported: the box stands on a plane that was found around the target, else it follows the points' spread.
        error: why there is no box.
    """

    frame_id: str
    points_m: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    pixels_xy: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    valid_share: float = 0.0
    centroid_m: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    box: OrientedBox | None = None
    is_supported: bool = False
    error: str = ""
