"""Reasoning segmentation for ROS 2: camera images and a question in, masks, boxes and the reason out."""

from pkgutil import extend_path

# The generated messages (`reasonseg_ros.msg`) may lie in another folder than the sources, for example when pytest
# runs in the repository: both folders together are this package.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
