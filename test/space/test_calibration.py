"""CameraInfo by the standard: known points are projected with OpenCV and the message's fields, and must come back."""

import cv2
import numpy as np
import pytest

pytest.importorskip("sensor_msgs.msg", reason="needs ROS 2")
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from reasonseg_ros.space.calibration import (
    RAW,
    RECTIFIED,
    Kinds,
    UnusableCalibration,
    intrinsics_from_info,
    kind_by_name,
)
from reasonseg_ros.space.lens import rays_xy

K = np.array([[520.0, 0, 318.2], [0, 515.0, 241.7], [0, 0, 1]])
D = [-0.31, 0.12, 0.0009, -0.0004, -0.02]
R = cv2.Rodrigues(np.radians([0.4, -1.5, 0.7]))[0]
P = np.array([[480.0, 0, 330.0, 0], [0, 481.0, 236.0, 0], [0, 0, 1, 0]])
POINTS_M = np.array([[0.1, -0.2, 1.0], [-0.45, 0.3, 1.3], [0.9, 0.5, 2.0], [0.0, 0.0, 0.5]])


def info(size_wh=(640, 480), **fields):
    message = CameraInfo(width=size_wh[0], height=size_wh[1], distortion_model="plumb_bob", d=D)
    message.k, message.r, message.p = K.ravel(), R.ravel(), P.ravel()
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def region(x, y, width, height, do_rectify=False):
    return RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height, do_rectify=do_rectify)


def raw_pixels(k=K, d=D):
    return cv2.projectPoints(POINTS_M, np.zeros(3), np.zeros(3), k, np.array(d))[0][:, 0]


def rectified_pixels():
    seen = POINTS_M @ R.T @ P[:, :3].T
    return seen[:, :2] / seen[:, 2:]


def found_m(lens, pixels, depths_m):
    rays = rays_xy(lens, pixels)
    return (np.column_stack([rays, np.ones(len(rays))]) * depths_m[:, None]) @ lens.rotation.T


def test_points_in_a_raw_image_come_back_by_k_and_d():
    lens = intrinsics_from_info(info(), (640, 480), RAW)
    np.testing.assert_allclose(found_m(lens, raw_pixels(), POINTS_M[:, 2]), POINTS_M, atol=1e-6)


def test_points_in_a_rectified_image_come_back_by_p_and_r():
    lens = intrinsics_from_info(info(), (640, 480), RECTIFIED)
    depths_m = (POINTS_M @ R.T)[:, 2]
    np.testing.assert_allclose(found_m(lens, rectified_pixels(), depths_m), POINTS_M, atol=1e-9)


def test_a_rectified_image_is_what_opencv_makes_of_the_raw_one():
    raw, rectified = (intrinsics_from_info(info(), (640, 480), kind) for kind in (RAW, RECTIFIED))
    opencv = cv2.undistortPoints(raw_pixels()[:, None], K, np.array(D), R=R, P=P)[:, 0]
    np.testing.assert_allclose(opencv, rectified_pixels(), atol=0.1)  # its inverse is an iteration
    np.testing.assert_allclose(
        found_m(raw, raw_pixels(), POINTS_M[:, 2]),
        found_m(rectified, rectified_pixels(), (POINTS_M @ R.T)[:, 2]),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("model", "d"),
    [
        ("plumb_bob", D[:4]),
        ("plumb_bob", [*D, 0.0, 0.0, 0.0]),
        ("rational_polynomial", [0.52, -2.67, 0.0006, -0.0002, 1.53, 0.40, -2.49, 1.46]),
        ("rational_polynomial", D),
        ("rational_polynomial", [0.1, 0.0, 0.0006, -0.0002, 0.0, 0.01, 0.0, 0.0, 0.001, 0.0, 0.002, 0.0]),
        ("plumb_bob", []),
        ("rational_polynomial", [0.0] * 8),
        ("", []),
    ],
)
def test_every_pinhole_model_is_inverted(model, d):
    lens = intrinsics_from_info(info(distortion_model=model, d=d), (640, 480))
    pixels = raw_pixels(d=d or [0.0] * 5)
    np.testing.assert_allclose(found_m(lens, pixels, POINTS_M[:, 2]), POINTS_M, atol=1e-6)


@pytest.mark.parametrize("d", [[0.1, -0.02, 0.003, -0.001], [0.0, 0.0, 0.0, 0.0]])
def test_equidistant_is_opencvs_fisheye_also_without_coefficients(d):
    lens = intrinsics_from_info(info(distortion_model="equidistant", d=d), (640, 480))
    pixels = cv2.fisheye.projectPoints(POINTS_M[:, None], np.zeros(3), np.zeros(3), K, np.array(d))[0][:, 0]
    np.testing.assert_allclose(found_m(lens, pixels, POINTS_M[:, 2]), POINTS_M, atol=1e-6)


@pytest.mark.parametrize("kind", [RAW, RECTIFIED])
@pytest.mark.parametrize(("binning", "offset"), [((2, 2), (0, 0)), ((1, 1), (100, 50)), ((2, 4), (64, 32))])
def test_binning_and_region_say_which_pixels_the_image_has(kind, binning, offset):
    width, height = 480, 400
    roi = region(*offset, width, height) if any(offset) else region(0, 0, 0, 0)
    full_wh = (width, height) if any(offset) else (640, 480)
    size_wh = full_wh[0] // binning[0], full_wh[1] // binning[1]
    message = info(binning_x=binning[0], binning_y=binning[1], roi=roi)
    lens = intrinsics_from_info(message, size_wh, kind)
    pixels = raw_pixels() if kind == RAW else rectified_pixels()
    depths_m = POINTS_M[:, 2] if kind == RAW else (POINTS_M @ R.T)[:, 2]
    # Pixel centres: the first super-pixel of two joins those at 0 and 1, so its middle is 0.5.
    seen = (pixels - offset - (np.array(binning) - 1) / 2) / binning
    np.testing.assert_allclose(found_m(lens, seen, depths_m), POINTS_M, atol=1e-6)


def test_a_region_of_the_whole_sensor_is_none():
    expected = intrinsics_from_info(info(), (640, 480), RECTIFIED)
    for roi in (region(0, 0, 640, 480), region(0, 0, 640, 480, True), region(0, 0, 0, 0, True)):
        assert intrinsics_from_info(info(roi=roi), (640, 480), RECTIFIED) == expected


def matrix(base, **cells):
    changed = np.array(base, float)
    for name, value in cells.items():
        changed[int(name[1]), int(name[2])] = value
    return changed.ravel()


REFUSED = {
    "another size": (info(), (320, 240), RAW, "no camera_info: none of 320 x 240; .* 640 x 480"),
    "no size": (info((0, 0)), (640, 480), RAW, "0 x 0"),
    "binning of another size": (info(binning_x=2, binning_y=2), (640, 480), RAW, "binning 2 x 2, .* 320 x 240"),
    "region of another size": (info(roi=region(10, 10, 100, 100)), (640, 480), RAW, "100 x 100 at 10, 10"),
    "region outside": (info((64, 48), roi=region(100, 50, 64, 48)), (64, 48), RAW, "does not lie inside"),
    "region without a size": (info(roi=region(100, 50, 0, 0)), (640, 480), RAW, "does not lie inside"),
    "a rectified region of its own": (
        info(roi=region(100, 50, 320, 240, True)), (320, 240), RECTIFIED, "roi.do_rectify",
    ),
    "K of 0": (info(k=np.zeros(9)), (640, 480), RAW, "K has fx 0.*camera.rectification"),
    "K not finite": (info(k=matrix(K, m02=np.nan)), (640, 480), RAW, "cx nan"),
    "K negative": (info(k=matrix(K, m00=-520)), (640, 480), RAW, "fx -520"),
    "K with skew": (info(k=matrix(K, m01=1.0)), (640, 480), RAW, "expected .*fx, 0, cx"),
    "K without its 1": (info(k=matrix(K, m22=0.0)), (640, 480), RAW, "expected .*fx, 0, cx"),
    "P of 0": (info(p=np.zeros(12)), (640, 480), RECTIFIED, "P has fx 0.*rectification: raw"),
    "the second camera of a pair": (info(p=matrix(P, m03=-52.0)), (640, 480), RECTIFIED, "-52, 0, 0.*first"),
    "R no rotation": (info(r=2 * R.ravel()), (640, 480), RECTIFIED, "R is .*not a rotation"),
    "R not finite": (info(r=matrix(R, m11=np.nan)), (640, 480), RECTIFIED, "R is .*not a rotation"),
    "a mirror": (info(r=np.diag([1.0, 1.0, -1.0]).ravel()), (640, 480), RECTIFIED, "not a rotation"),
    "unknown model": (info(distortion_model="kannala_brandt4"), (640, 480), RAW, "'kannala_brandt4' .* known are"),
    "coefficients without a model": (info(distortion_model=""), (640, 480), RAW, "model '' with 5"),
    "plumb_bob of eight": (info(d=[0.1] * 8), (640, 480), RAW, "8 coefficients; expected 4 or 5"),
    "rational of seven": (
        info(distortion_model="rational_polynomial", d=[0.1] * 7), (640, 480), RAW, "expected 4 or 5 or 8 or 12",
    ),
    "tilted sensor": (
        info(distortion_model="rational_polynomial", d=[0.1] * 14), (640, 480), RAW, "14 coefficients",
    ),
    "equidistant of none": (info(distortion_model="equidistant", d=[]), (640, 480), RAW, "expected 4"),
    "equidistant of five": (info(distortion_model="equidistant", d=[0.1] * 5), (640, 480), RAW, "expected 4"),
    "D not finite": (info(d=[np.nan, 0.0, 0.0, 0.0, 0.0]), (640, 480), RAW, "not all of them finite"),
}  # fmt: skip


@pytest.mark.parametrize(("message", "size_wh", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_what_the_standard_does_not_allow_is_refused_in_one_line(message, size_wh, kind, words):
    with pytest.raises(UnusableCalibration, match=words) as caught:
        intrinsics_from_info(message, size_wh, kind)
    assert "\n" not in str(caught.value)
    assert caught.value.reason in ("no camera_info", "unusable camera_info")


@pytest.mark.parametrize(
    ("topic", "kind"),
    [
        ("/camera/color/image_raw", RAW),
        ("/camera/image_raw/compressed", RAW),
        ("/camera/image_rect", RECTIFIED),
        ("/camera/image_rect_color/compressed", RECTIFIED),
        ("/raw/camera/image_rect", RECTIFIED),
        ("/camera/depth/image_rect_raw", RECTIFIED),
        ("/zed/rgb/color/rect/image", RECTIFIED),
        ("/camera/rectangle/image", ""),
        ("/image", ""),
        ("", ""),
    ],
)
def test_a_topics_name_tells_whether_it_is_rectified(topic, kind):
    assert kind_by_name(topic) == kind


PLAIN = info(d=[], r=np.eye(3).ravel(), p=np.column_stack([K, np.zeros(3)]).ravel())


def scaled(factor):
    """The calibration of another resolution, in a message that states the image's size."""
    k = K * [[factor], [factor], [1]]
    return info(d=[], r=np.eye(3).ravel(), k=k.ravel(), p=np.column_stack([k, np.zeros(3)]).ravel())


@pytest.mark.parametrize(
    ("kinds", "message", "words"),
    [
        (Kinds.of("/image", "/depth"), PLAIN, []),
        (Kinds.of("/image_rect", "/image_raw"), PLAIN, []),
        (Kinds.of("/image", "/depth"), info(d=[], r=np.zeros(9), p=np.zeros(12)), []),
        (Kinds.of("/image", "/depth"), scaled(2), ["of K, (636, 483), is far from the middle of 640 x 480"]),
        (Kinds.of("/image", "/depth"), scaled(2 / 3), ["of K, (212, 161), is far from"]),
        (Kinds.of("/image", "/depth", "rectified", "rectified"), scaled(0.5), ["of P, (159, 121), is far from"]),
        (Kinds.of("/image", "/depth"), info(), ["/image is read as a raw image", "/depth is taken for raw"]),
        (Kinds.of("/image_rect", "/image_rect"), info(), ["/image_rect is read as a rectified image (P"]),
        (Kinds.of("/image", "/depth", "raw", "raw"), info(), []),
        (Kinds.of("/image", "/depth", "rectified"), info(), ["/depth is taken for rectified too"]),
        (Kinds.of("/image_rect", "/image_raw", "rectified"), info(), ["/image_raw is raw depth, warped"]),
        (Kinds.of("/image", "/depth", "rectified", "rectified"), info(r=np.zeros(9)), ["R of camera_info is all 0"]),
    ],
)
def test_what_is_assumed_is_said_where_it_makes_a_difference(kinds, message, words):
    notes = kinds.notes(message, (640, 480))
    assert len(notes) == len(words)
    for note, word in zip(notes, words, strict=True):
        assert word in note
