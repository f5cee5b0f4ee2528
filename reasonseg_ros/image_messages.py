"""The former name of `images.messages`, kept for scripts that import it."""

from reasonseg_ros.images.messages import check_compressed, frame_from_message, rgb_from_compressed

__all__ = ["check_compressed", "frame_from_message", "rgb_from_compressed"]
