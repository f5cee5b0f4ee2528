"""Bags without ROS: MCAP and sqlite3 are read, MCAP is written, with this package's own messages."""

from reasonseg_ros.bags.definitions import conformed, decoded
from reasonseg_ros.bags.messages import (
    PACKAGE,
    box_3d_message,
    box_message,
    camera_info_message,
    compressed_image_message,
    depth_message,
    ground_truth_message,
    header,
    image_message,
    mask_message,
    of_this_version,
    query_message,
    typestore,
)
from reasonseg_ros.bags.reader import BagReader
from reasonseg_ros.bags.records import Damage, Record
from reasonseg_ros.bags.writer import BagWriter
from reasonseg_ros.stamps import header_stamp_ns, raw_stamp_ns, restamped

__all__ = [
    "PACKAGE",
    "BagReader",
    "BagWriter",
    "Damage",
    "Record",
    "box_3d_message",
    "box_message",
    "camera_info_message",
    "compressed_image_message",
    "conformed",
    "decoded",
    "depth_message",
    "ground_truth_message",
    "header",
    "header_stamp_ns",
    "image_message",
    "mask_message",
    "of_this_version",
    "query_message",
    "raw_stamp_ns",
    "restamped",
    "typestore",
]
