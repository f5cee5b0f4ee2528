"""Topics and frame of the bags that this package writes and its demo plays."""

from __future__ import annotations

IMAGE_TOPIC = "/camera/image"
COMPRESSED_IMAGE_TOPIC = "/camera/image/compressed"
CAMERA_INFO_TOPIC = "/camera/camera_info"
DEPTH_TOPIC = "/camera/depth"
QUERY_TOPIC = "/reasonseg/query"
GROUND_TRUTH_TOPIC = "/reasonseg/ground_truth"
BLACK_BOX_TOPIC = "/reasonseg/black_box"
"""JSON texts with an answer and everything that it depended on."""
UNSCORED_QUERY_TOPIC = "/reasonseg/unscored_query"
"""Questions without ground truth, in bags whose other questions have it."""

FRAME_ID = "camera_optical_frame"
START_NS = 1_700_000_000 * 10**9
"""Stamp of the first image."""
