"""Makes messages without ROS, from the .msg texts. A bag with them can be played by any ROS 2."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from reasonseg_ros.errors import InvalidInput
from reasonseg_ros.files.resources import resource
from reasonseg_ros.geometry import quat_xyzw
from reasonseg_ros.images.mask_codec import encode_mask
from reasonseg_ros.spatial import Intrinsics, OrientedBox
from reasonseg_ros.types import BoolMask, FloatArray, Query, RgbImage

PACKAGE = "reasonseg_ros"


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """The messages of ROS 2 Jazzy and of this package."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in sorted(resource("msg").glob("*.msg")):
        store.register(get_types_from_msg(path.read_text(encoding="utf-8"), f"{PACKAGE}/msg/{path.stem}"))
    return store


def _make(message_type: str, **fields: Any) -> Any:
    return typestore().types[message_type](**fields)


def header(stamp_ns: int, frame_id: str) -> Any:
    stamp = _make("builtin_interfaces/msg/Time", sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return _make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def image_message(rgb: RgbImage, stamp_ns: int, frame_id: str) -> Any:
    """sensor_msgs/Image, rgb8, of uint8 [H, W, 3]."""
    height, width = rgb.shape[:2]
    return _make(
        "sensor_msgs/msg/Image", header=header(stamp_ns, frame_id), height=height, width=width, encoding="rgb8",
        is_bigendian=0, step=3 * width, data=np.ascontiguousarray(rgb).reshape(-1),
    )  # fmt: skip


def compressed_image_message(data: bytes, encoding: str, stamp_ns: int, frame_id: str) -> Any:
    """sensor_msgs/CompressedImage of the bytes of an image file; `encoding` is "jpeg" or "png"."""
    content = np.frombuffer(data, np.uint8)
    return _make("sensor_msgs/msg/CompressedImage", header=header(stamp_ns, frame_id), format=encoding, data=content)


def depth_message(depth_m: FloatArray, stamp_ns: int, frame_id: str) -> Any:
    """sensor_msgs/Image, 32FC1 in metres (REP-118), of float32 [H, W]."""
    height, width = depth_m.shape
    return _make(
        "sensor_msgs/msg/Image", header=header(stamp_ns, frame_id), height=height, width=width, encoding="32FC1",
        is_bigendian=0, step=4 * width, data=np.ascontiguousarray(depth_m, "<f4").view(np.uint8).reshape(-1),
    )  # fmt: skip


def camera_info_message(intrinsics: Intrinsics, size_wh: tuple[int, int], stamp_ns: int, frame_id: str) -> Any:
    """sensor_msgs/CameraInfo of a raw image. P equals K, so a rectified image keeps the focal lengths.

    Raises InvalidInput for intrinsics of a rectified image.
    """
    fx, fy, cx, cy = intrinsics.fx_px, intrinsics.fy_px, intrinsics.cx_px, intrinsics.cy_px
    if intrinsics.camera_from_lens:
        raise InvalidInput("intrinsics of a rectified image; give those of the raw one")
    model = "rational_polynomial" if len(intrinsics.distortion) > 5 else "plumb_bob"
    return _make(
        "sensor_msgs/msg/CameraInfo", header=header(stamp_ns, frame_id), height=size_wh[1], width=size_wh[0],
        distortion_model="equidistant" if intrinsics.is_fisheye else model,
        d=np.array(intrinsics.distortion or [0.0] * 5), k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1], float),
        r=np.eye(3).reshape(-1), p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0], float),
        binning_x=0, binning_y=0,
        roi=_make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )  # fmt: skip


def of_this_version(message: Any, message_type: str) -> Any:
    """The message converted from the bag's definition of its type to this package's. Raises InvalidInput."""
    try:
        return typestore().deserialize_cdr(typestore().serialize_cdr(message, message_type), message_type)
    except Exception as error:  # missing fields, or fields of other types
        raise InvalidInput(f"a {message_type} of another version of reasonseg_ros: {error}") from error


def query_message(query: Query) -> Any:
    return _make(f"{PACKAGE}/msg/Query", query_id=query.query_id, text=query.text, mode=str(query.mode), frames=0)


def text_message(text: str) -> Any:
    """std_msgs/String."""
    return _make("std_msgs/msg/String", data=text)


def mask_message(mask: BoolMask, encoding: str = "png") -> Any:
    """Mask message of bool [H, W]."""
    fields = vars(encode_mask(mask, encoding))
    return _make(f"{PACKAGE}/msg/Mask", **{**fields, "data": np.frombuffer(fields["data"], np.uint8)})


def ground_truth_message(
    query: Query,
    mask: BoolMask,
    stamp_ns: int,
    frame_id: str,
    *,
    kind: str = "",
    thought: str = "",
    split: str = "",
    is_sentence: bool = False,
    boxes_xyxy: Sequence[Sequence[float]] = (),
    points_xy: Sequence[Sequence[float]] = (),
    boxes_3d: Sequence[OrientedBox] = (),
    ignore: BoolMask | None = None,
) -> Any:
    """GroundTruth of one question about the image of that stamp.

    `mask` is the union of the targets; `ignore` are the pixels that are not scored (None for none); bool [H, W].
    """
    return _make(
        f"{PACKAGE}/msg/GroundTruth", header=header(stamp_ns, frame_id), query_id=query.query_id, question=query.text,
        kind=kind, thought=thought, split=split, is_sentence=is_sentence, mask=mask_message(mask),
        ignore=mask_message(np.zeros_like(mask) if ignore is None else ignore),
        boxes=[box_message(box) for box in boxes_xyxy],
        points=[_make(f"{PACKAGE}/msg/Point2D", x=float(x), y=float(y)) for x, y in points_xy],
        boxes_3d=[box_3d_message(box) for box in boxes_3d],
    )  # fmt: skip


def box_message(box_xyxy: Sequence[float]) -> Any:
    x1, y1, x2, y2 = (float(value) for value in box_xyxy)
    return _make(f"{PACKAGE}/msg/Box", x1=x1, y1=y1, x2=x2, y2=y2)


def box_3d_message(box: OrientedBox) -> Any:
    """Box3D of a box in space."""
    x, y, z, w = quat_xyzw(box.rotation)
    position = _make("geometry_msgs/msg/Point", **dict(zip("xyz", box.center_m.tolist(), strict=True)))
    orientation = _make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
    pose = _make("geometry_msgs/msg/Pose", position=position, orientation=orientation)
    size = _make("geometry_msgs/msg/Vector3", **dict(zip("xyz", box.size_m.tolist(), strict=True)))
    return _make(f"{PACKAGE}/msg/Box3D", pose=pose, size=size)
