"""Topics and frame of the bags that this package writes, and that its demo plays."""

from __future__ import annotations

IMAGE_TOPIC = "/camera/image"
COMPRESSED_IMAGE_TOPIC = "/camera/image/compressed"
CAMERA_INFO_TOPIC = "/camera/camera_info"
DEPTH_TOPIC = "/camera/depth"
QUERY_TOPIC = "/reasonseg/query"
GROUND_TRUTH_TOPIC = "/reasonseg/ground_truth"
BLACK_BOX_TOPIC = "/reasonseg/black_box"
"""JSON texts: what an answer depended on, and what it was."""
UNSCORED_QUERY_TOPIC = "/reasonseg/unscored_query"
"""Questions that are known to have no ground truth, in bags whose other questions have one."""

FRAME_ID = "camera_optical_frame"
START_NS = 1_700_000_000 * 10**9
"""Stamp of the first image."""
