"""Rays through pixels, judged by OpenCV: known points go through its lens models and must come back."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from reasonseg_ros.space.lens import carried_depth, pixels_xy, rays_xy
from reasonseg_ros.space.points import surface_of
from reasonseg_ros.spatial import CameraPose, Intrinsics
from reasonseg_ros.types import Frame

SIZE_WH = (640, 480)
PINHOLE = Intrinsics(520.0, 515.0, 318.2, 241.7)
LENSES = {
    "pinhole": PINHOLE,
    "barrel": replace(PINHOLE, distortion=(-0.31, 0.12, 0.0009, -0.0004, -0.02)),
    "pincushion": replace(PINHOLE, distortion=(0.35, 0.2, -0.001, 0.0007, 0.05)),
    "four coefficients": replace(PINHOLE, distortion=(-0.2, 0.05, 0.001, 0.001)),
    "rational": replace(PINHOLE, distortion=(0.52, -2.67, 0.0006, -0.0002, 1.53, 0.40, -2.49, 1.46)),
    "thin prism": replace(PINHOLE, distortion=(-0.2, 0.1, 0.001, 0.002, 0, 0.01, 0, 0, 0.003, 0.001, -0.002, 0.001)),
    "fisheye": Intrinsics(250.0, 251.0, 322.0, 238.0, (0.05, -0.01, 0.004, -0.001), True),
    "fisheye of angles alone": Intrinsics(250.0, 250.0, 319.5, 239.5, (0.0, 0.0, 0.0, 0.0), True),
}  # fmt: skip


def seen_by_opencv(lens, points_m):
    """Pixels [N, 2] of points [N, 3] in front of the camera."""
    matrix = np.array([[lens.fx_px, 0, lens.cx_px], [0, lens.fy_px, lens.cy_px], [0, 0, 1]])
    zero = np.zeros(3)
    if lens.is_fisheye:
        return cv2.fisheye.projectPoints(points_m[:, None], zero, zero, matrix, np.array(lens.distortion))[0][:, 0]
    return cv2.projectPoints(points_m, zero, zero, matrix, np.array(lens.distortion))[0][:, 0]


def points_in_view(lens, count=2000):
    rng = np.random.default_rng(7)
    slopes = np.tan(rng.uniform(-0.9, 0.9, (count, 2)) * (1.0 if lens.is_fisheye else 0.5))
    points = np.column_stack([slopes, np.ones(count)]) * rng.uniform(0.3, 4.0, (count, 1))
    pixels = seen_by_opencv(lens, points)
    is_inside = ((pixels >= 0) & (pixels <= np.array(SIZE_WH) - 1)).all(1)
    return points[is_inside], pixels[is_inside]


@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES)
def test_known_points_come_back_through_the_lens(lens):
    points, pixels = points_in_view(lens)
    assert len(points) > 400
    rays = rays_xy(lens, pixels)
    back = np.column_stack([rays, np.ones(len(rays))]) * points[:, 2:]
    np.testing.assert_allclose(back, points, atol=1e-5)  # metres
    np.testing.assert_allclose(pixels_xy(lens, points[:, :2] / points[:, 2:]), pixels, atol=1e-6)


@pytest.mark.parametrize("name", ["barrel", "fisheye"])
def test_rays_agree_with_opencvs_own_inverse(name):
    lens = LENSES[name]
    matrix = np.array([[lens.fx_px, 0, lens.cx_px], [0, lens.fy_px, lens.cy_px], [0, 0, 1]])
    _, pixels = points_in_view(lens)
    invert = cv2.fisheye.undistortPoints if lens.is_fisheye else cv2.undistortPoints
    opencv = invert(pixels[:, None], matrix, np.array(lens.distortion))[:, 0]
    np.testing.assert_allclose(rays_xy(lens, pixels), opencv, atol=2e-4)


def test_pixels_past_the_fold_of_a_lens_have_no_ray():
    lens = replace(PINHOLE, distortion=(-0.3, 0.0, 0.0, 0.0, 0.0))
    # The distorted radius x (1 - 0.3 x^2) is never above 0.7027.
    at = [(lens.cx_px + 0.70 * lens.fx_px, lens.cy_px), (lens.cx_px + 0.71 * lens.fx_px, lens.cy_px)]
    rays = rays_xy(lens, at)
    assert 0 < rays[0, 0] < 1.0541
    assert np.isnan(rays[1]).all()
    assert np.isnan(pixels_xy(lens, [(1.2, 0.0)])).all()


def test_no_pixels_have_no_rays():
    for lens in LENSES.values():
        assert rays_xy(lens, np.zeros((0, 2))).shape == pixels_xy(lens, np.zeros((0, 2))).shape == (0, 2)


def plane_depth(lens, normal=(0.2, -0.3, 1.0), offset_m=1.5):
    """Depth [H, W] along the lens's axis of a plane given in the camera's frame; 0 where there is no ray."""
    rows, columns = np.mgrid[: SIZE_WH[1], : SIZE_WH[0]]
    rays = rays_xy(lens, np.column_stack([columns.ravel(), rows.ravel()]))
    directions = np.column_stack([rays, np.ones(len(rays))]) @ lens.rotation.T
    depth = offset_m / (directions @ np.array(normal))
    return np.where(np.isfinite(depth) & (depth > 0), depth, 0).reshape(rows.shape).astype(np.float32)


@pytest.mark.parametrize("angle_deg", [0.0, 3.0])
@pytest.mark.parametrize("to_raw", [False, True])
def test_depth_is_carried_between_the_raw_and_the_rectified_image(angle_deg, to_raw):
    turn = cv2.Rodrigues(np.array([0.2, 1.0, 0.1]) * np.radians(angle_deg))[0]
    rectified = Intrinsics(480.0, 480.0, 315.0, 236.0, camera_from_lens=tuple(turn.T.ravel()))
    raw = LENSES["barrel"]
    source, target = (rectified, raw) if to_raw else (raw, rectified)
    carried, expected = carried_depth(plane_depth(source), source, target), plane_depth(target)
    known = (carried > 0) & (expected > 0)
    assert known.mean() > 0.8
    errors = carried[known] - expected[known]
    assert np.abs(errors).max() < 3e-3  # half a pixel's difference on that plane, as the nearest pixel is taken
    assert abs(errors.mean()) < 1e-4


@pytest.mark.parametrize("name", ["barrel", "rational", "fisheye"])
def test_the_surface_under_a_mask_is_where_it_is_seen_through_the_lens(name):
    lens = LENSES[name]
    rows, columns = np.mgrid[: SIZE_WH[1], : SIZE_WH[0]]
    rays = rays_xy(lens, np.column_stack([columns.ravel(), rows.ravel()])).reshape(*rows.shape, 2)
    target_m = rays * 0.8  # a card of 12 x 8 cm in the corner of the picture, 4 cm in front of a wall
    mask = (np.abs(target_m[..., 0] - 0.28) < 0.06) & (np.abs(target_m[..., 1] - 0.2) < 0.04)
    depth_m = np.where(mask, 0.8, 0.84).astype(np.float32)
    frame = Frame(np.zeros((*mask.shape, 3), np.uint8), 1, "optical", depth_m, lens)
    surface = surface_of(frame, mask, 0.3)
    np.testing.assert_allclose(surface.box.center_m[:2], [0.28, 0.2], atol=1e-3)
    np.testing.assert_allclose(sorted(surface.box.size_m[:2]), [0.08, 0.12], atol=5e-3)
    x, y = surface.pixels_xy.T
    np.testing.assert_allclose(surface.points_m[:, :2], rays[y, x] * 0.8, atol=1e-6)


def test_pixels_without_a_ray_count_as_pixels_of_unknown_depth():
    lens = Intrinsics(80.0, 80.0, 31.5, 23.5, (-0.3, 0.0, 0.0, 0.0, 0.0))
    mask = np.zeros((200, 200), bool)
    mask[20:30, 20:60] = True  # inside the fold, which lies 56 pixels off the middle
    mask[150:160, 150:190] = True  # outside
    frame = Frame(np.zeros((200, 200, 3), np.uint8), 1, "optical", np.ones((200, 200), np.float32), lens)
    assert surface_of(frame, mask, 0.3).valid_share == pytest.approx(0.5)


def test_results_of_a_turned_lens_are_in_the_cameras_frame_then_in_the_target_frame():
    turn = cv2.Rodrigues(np.array([0.0, np.radians(5.0), 0.0]))[0]
    lens = replace(PINHOLE, camera_from_lens=tuple(turn.ravel()))
    mask = np.zeros((480, 640), bool)
    mask[200:260, 300:360] = True
    frame = Frame(np.zeros((480, 640, 3), np.uint8), 1, "optical", np.ones((480, 640), np.float32), lens)
    straight = surface_of(replace(frame, intrinsics=PINHOLE), mask, 0.3)
    surface = surface_of(frame, mask, 0.3)
    np.testing.assert_allclose(surface.centroid_m, turn @ straight.centroid_m, atol=1e-9)
    pose = np.eye(4)
    pose[:3, 3] = 1.0, 2.0, 3.0
    moved = surface_of(replace(frame, camera_pose=CameraPose("base", pose)), mask, 0.3)
    assert (surface.frame_id, moved.frame_id) == ("optical", "base")
    np.testing.assert_allclose(moved.centroid_m, surface.centroid_m + np.array([1.0, 2.0, 3.0]), atol=1e-9)
