"""The points of an answer's regions as one coloured cloud."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import PointCloud2, PointField

from reasonseg_ros.ros.conversion import frame_3d, header_message
from reasonseg_ros.types import Frame, Region

POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4"), ("instance", "<u4")])
"""`rgb` is 0x00rrggbb, declared as a float by convention; `instance` is the region's id."""


def cloud_message(frame: Frame, regions: Sequence[Region]) -> PointCloud2:
    """The points of each region without outliers, in the image's colours, unorganised.

    A point that two regions share is in it twice.
    """
    kinds = {"<f4": PointField.FLOAT32, "<u4": PointField.UINT32}
    message = PointCloud2(header=header_message(frame), height=1, point_step=POINT.itemsize, is_dense=True)
    message.header.frame_id = frame_3d(frame)
    assert POINT.fields is not None
    message.fields = [
        PointField(name=name, offset=offset, datatype=kinds[kind.str], count=1)
        for name, (kind, offset, *_) in POINT.fields.items()
    ]
    message.fields[3].datatype = PointField.FLOAT32
    points = np.concatenate([_points(frame, index, region) for index, region in enumerate(regions, 1)] or [_NONE])
    message.width, message.row_step = len(points), points.nbytes
    message.data = points.tobytes()
    return message


_NONE = np.zeros(0, POINT)


def _points(frame: Frame, identity: int, region: Region) -> np.ndarray:
    surface = region.surface
    if surface is None:
        return _NONE
    points = np.empty(len(surface.points_m), POINT)
    points["x"], points["y"], points["z"] = surface.points_m.T
    red, green, blue = frame.rgb[surface.pixels_xy[:, 1], surface.pixels_xy[:, 0]].astype(np.uint32).T
    points["rgb"] = red << 16 | green << 8 | blue
    points["instance"] = identity
    return points
