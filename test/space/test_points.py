"""Surfaces and boxes of masks in space, on depth images of a cuboid on a plane that are computed ray by ray."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonseg_ros.geometry import quat_xyzw, rotation_matrix
from reasonseg_ros.space.boxes import box_by_spread
from reasonseg_ros.space.planes import fit_plane
from reasonseg_ros.space.points import MAX_POINTS, back_projected, located, surface_of
from reasonseg_ros.spatial import CameraPose, Intrinsics, OrientedBox
from reasonseg_ros.types import Answer, Frame, Grounding, Query, Region, Segmentation, Status

SIZE_WH = (160, 120)
LENS = Intrinsics(150.0, 150.0, 79.5, 59.5)
DOWN_RAD = 0.8
DISTANCE_M = 0.8

angles = st.floats(-np.pi, np.pi)


def table_axes(yaw_rad):
    """Axes, as columns, of a box on the table before a camera that looks down on it, in the optical frame."""
    up = np.array([0.0, -np.cos(DOWN_RAD), -np.sin(DOWN_RAD)])
    right = np.array([1.0, 0.0, 0.0])
    away = np.cross(up, right)
    along = np.cos(yaw_rad) * right + np.sin(yaw_rad) * away
    return np.stack([along, np.cross(up, along), up], 1)


def resting(size_m, yaw_rad=0.3, lift_m=0.0):
    """A box on the table, in the middle of the image."""
    axes = table_axes(yaw_rad)
    return OrientedBox(np.array([0.0, 0.0, DISTANCE_M]) + axes[:, 2] * (size_m[2] / 2 + lift_m), axes, np.array(size_m))


def see(box, table=True):
    """The frame with its depth, and the box's mask."""
    columns, rows = np.meshgrid(np.arange(SIZE_WH[0]), np.arange(SIZE_WH[1]))
    rays = np.stack([(columns - LENS.cx_px) / LENS.fx_px, (rows - LENS.cy_px) / LENS.fy_px, np.ones(rows.shape)], -1)
    with np.errstate(divide="ignore"):
        towards = rays @ box.rotation
        sides = np.stack([side * box.size_m / 2 + box.center_m @ box.rotation for side in (-1, 1)])
        hits = sides[:, None, None] / towards
    enter, leave = hits.min(0).max(-1), hits.max(0).min(-1)
    mask = (enter <= leave) & (enter > 0)
    up = table_axes(0)[:, 2]
    ground = DISTANCE_M * up[2] / (rays @ up)
    depth_m = np.where(mask, enter, ground if table else 3.0).astype(np.float32)
    frame = Frame(np.zeros((*rows.shape, 3), np.uint8), 1, "optical", depth_m, LENS)
    return frame, mask


def close(box, truth, size_m=0.01, center_m=0.005):  # a pixel is 5 mm wide there
    np.testing.assert_allclose(np.sort(box.size_m), np.sort(truth.size_m), atol=size_m)
    np.testing.assert_allclose(box.center_m, truth.center_m, atol=center_m)


@settings(max_examples=25, deadline=None)
@given(angles, st.floats(0.06, 0.2), st.floats(0.04, 0.08), st.floats(0.03, 0.12))
def test_a_box_on_a_table_is_found_as_it_stands(yaw_rad, length_m, width_m, height_m):
    truth = resting((length_m, width_m, height_m), yaw_rad)
    surface = surface_of(*see(truth), 0.3)
    assert surface.is_supported and surface.valid_share == 1.0 and surface.error == ""
    close(surface.box, truth)
    assert surface.box.rotation[:, 2] @ truth.rotation[:, 2] > 0.999  # z is the table's normal
    np.testing.assert_allclose(surface.box.rotation.T @ surface.box.rotation, np.eye(3), atol=1e-9)
    assert np.linalg.det(surface.box.rotation) > 0
    assert surface.box.size_m[0] >= surface.box.size_m[1]


def test_points_keep_their_pixels_and_the_centroid_is_theirs():
    frame, mask = see(resting((0.1, 0.06, 0.05)))
    surface = surface_of(frame, mask, 0.3)
    columns, rows = surface.pixels_xy.T
    assert mask[rows, columns].all()
    z = frame.depth_m[rows, columns]
    expected = np.stack([(columns - LENS.cx_px) / LENS.fx_px * z, (rows - LENS.cy_px) / LENS.fy_px * z, z], 1)
    np.testing.assert_allclose(surface.points_m, expected, atol=1e-6)
    np.testing.assert_allclose(surface.centroid_m, expected.mean(0), atol=1e-6)
    assert surface.frame_id == "optical"


def test_a_mask_that_spills_over_gives_the_same_box():
    truth = resting((0.12, 0.05, 0.08))
    frame, mask = see(truth)
    spilled = mask | np.roll(mask, 2, 0) | np.roll(mask, -2, 0) | np.roll(mask, 2, 1) | np.roll(mask, -2, 1)
    assert spilled.sum() > 1.1 * mask.sum()
    close(surface_of(frame, spilled, 0.3).box, truth)


def test_pixels_that_hang_between_edge_and_background_are_left_out():
    truth = resting((0.1, 0.06, 0.1))
    frame, mask = see(truth, table=False)
    hanging = mask & ~np.roll(mask, -1, 1)  # the right outline
    frame.depth_m[hanging] += np.linspace(0.1, 1.5, hanging.sum(), dtype=np.float32)
    surface = surface_of(frame, mask, 0.3)
    assert surface.points_m[:, 2].max() < frame.depth_m[mask & ~hanging].max() + 0.001
    assert not surface.is_supported  # of a wall 2 m behind, nothing rests on it
    assert surface.box.size_m.max() < 0.15


def test_noise_and_unknown_pixels_leave_the_box_near():
    truth = resting((0.15, 0.08, 0.06), 1.0)
    frame, mask = see(truth)
    rng = np.random.default_rng(1)
    frame.depth_m[:] += rng.normal(0, 0.001, mask.shape)
    unknown = rng.random(mask.shape)
    frame.depth_m[unknown < 0.2] = np.nan
    frame.depth_m[unknown > 0.8] = 0
    surface = surface_of(frame, mask, 0.3)
    assert surface.valid_share == pytest.approx(0.6, abs=0.05)
    close(surface.box, truth, size_m=0.012, center_m=0.008)


def test_too_little_depth_gives_no_box_and_says_why():
    frame, mask = see(resting((0.1, 0.1, 0.1)))
    frame.depth_m[:, ::2] = np.nan
    frame.depth_m[::2] = 0
    surface = surface_of(frame, mask, 0.3)
    assert surface.box is None and not len(surface.points_m)
    assert surface.valid_share == pytest.approx(0.25, abs=0.03)
    assert "25%" in surface.error and "30%" in surface.error


def test_odd_masks_end_in_a_stated_result():
    frame, mask = see(resting((0.1, 0.1, 0.1)))
    empty, dot, everything = np.zeros_like(mask), np.zeros_like(mask), np.ones_like(mask)
    dot[60, 80] = True
    assert surface_of(frame, empty, 0.3).error == "the mask is empty"
    assert "1 points" in surface_of(frame, dot, 0.3).error
    whole = surface_of(frame, everything, 0.3)
    assert whole.box is not None and not whole.is_supported  # nothing is left around it
    unknown = replace(frame, depth_m=np.full(mask.shape, np.nan, np.float32))
    assert surface_of(unknown, mask, 0.0).box is None
    assert surface_of(replace(frame, depth_m=None), mask, 0.3) is None
    assert surface_of(replace(frame, intrinsics=None), mask, 0.3) is None


def test_a_large_mask_is_thinned_and_measured_all_the_same():
    truth = resting((0.12, 0.1, 0.04))
    frame, mask = see(truth)
    scale = 16
    lens = Intrinsics(*(scale * value for value in (LENS.fx_px, LENS.fy_px, LENS.cx_px, LENS.cy_px)))
    large = mask.repeat(scale, 0).repeat(scale, 1)
    depth_m = frame.depth_m.repeat(scale, 0).repeat(scale, 1)
    surface = surface_of(Frame(np.zeros((*large.shape, 3), np.uint8), 1, "optical", depth_m, lens), large, 0.3)
    assert large.sum() > 2 * MAX_POINTS >= 2 * len(surface.points_m) > MAX_POINTS / 4
    columns, rows = surface.pixels_xy.T
    assert large[rows, columns].all()
    close(surface.box, truth)


def test_a_mat_in_the_table_keeps_its_points():
    frame, mask = see(resting((0.2, 0.1, 0.0005)))
    surface = surface_of(frame, mask, 0.3)
    assert len(surface.points_m) > 0.8 * mask.sum()
    np.testing.assert_allclose(surface.box.size_m[:2], [0.2, 0.1], atol=0.012)


def test_what_floats_is_not_drawn_down_to_the_table():
    truth = resting((0.08, 0.05, 0.03), lift_m=0.06)
    surface = surface_of(*see(truth), 0.3)
    assert surface.is_supported
    lowest = (surface.box.center_m - truth.center_m) @ truth.rotation[:, 2] - surface.box.size_m[2] / 2
    assert lowest == pytest.approx(-0.015, abs=0.004)


@settings(max_examples=15, deadline=None)
@given(angles, angles, st.floats(-2, 2))
def test_a_camera_pose_carries_everything_along(yaw, roll, offset_m):
    frame, mask = see(resting((0.12, 0.06, 0.05)))
    pose = np.eye(4)
    pose[:3, :3] = rotation_matrix([np.sin(roll / 2), 0, 0, np.cos(roll / 2)]) @ table_axes(yaw)
    pose[:3, 3] = offset_m, 1.0, -offset_m
    here = surface_of(frame, mask, 0.3)
    there = surface_of(replace(frame, camera_pose=CameraPose("base", pose)), mask, 0.3)
    assert there.frame_id == "base"
    np.testing.assert_allclose(there.points_m, here.points_m @ pose[:3, :3].T + pose[:3, 3], atol=1e-5)
    np.testing.assert_allclose(there.centroid_m, pose[:3, :3] @ here.centroid_m + pose[:3, 3])
    np.testing.assert_allclose(there.box.center_m, pose[:3, :3] @ here.box.center_m + pose[:3, 3])
    np.testing.assert_allclose(there.box.rotation, pose[:3, :3] @ here.box.rotation, atol=1e-12)


def test_each_region_gets_a_new_surface():
    frame, mask = see(resting((0.1, 0.06, 0.05)))
    grounding = Grounding(np.array([0, 0, 9, 9], np.float32))
    region = Region(mask, grounding.box_xyxy, grounding, 0.9, 1.0, 1.0, 0, 1)
    answer = Answer(Status.OK, groundings=(grounding,))
    segmentation = located(Segmentation(frame, Query("?"), answer, (region,)), 0.3)
    assert segmentation.regions[0].surface.box is not None
    # Followed to a frame without depth, it must not keep the place where it was.
    later = located(replace(segmentation, frame=replace(frame, depth_m=None)), 0.3)
    assert later.regions[0].surface is None


def test_the_plane_of_most_points_is_found_among_others():
    rng = np.random.default_rng(0)
    flat = np.stack([*rng.uniform(-1, 1, (2, 600)), rng.normal(2, 0.001, 600)], 1)
    clutter = rng.uniform((-1, -1, 1), (1, 1, 1.9), (400, 3))
    plane = fit_plane(np.concatenate([clutter, flat]))
    np.testing.assert_allclose(plane.normal, [0, 0, -1], atol=0.005)
    np.testing.assert_allclose(plane.heights_m(np.array([[0, 0, 1.5]])), [0.5], atol=0.005)
    assert plane.noise_m == pytest.approx(0.001, abs=0.0005)
    assert fit_plane(clutter) is None
    assert fit_plane(np.zeros((100, 3))) is None
    assert fit_plane(flat[:5]) is None


@given(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1))
def test_quaternions_and_matrices_are_each_others_inverse(quat):
    matrix = rotation_matrix(quat)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
    np.testing.assert_allclose(rotation_matrix(quat_xyzw(matrix)), matrix, atol=1e-9)
    assert quat_xyzw(matrix)[3] >= 0


def test_pixels_are_projected_back_by_the_lens():
    rng = np.random.default_rng(0)
    depth_m, mask = rng.uniform(0.5, 2, (120, 160)).astype(np.float32), rng.random((120, 160)) < 0.2
    rows, columns = np.nonzero(mask)
    z = depth_m[mask]
    expected = np.stack([(columns - LENS.cx_px) / LENS.fx_px * z, (rows - LENS.cy_px) / LENS.fy_px * z, z], 1)
    np.testing.assert_allclose(back_projected(depth_m, mask, LENS), expected, atol=1e-6)
    depth_m[rows[0], columns[0]], depth_m[rows[1], columns[1]] = 0, np.nan
    points = back_projected(depth_m, mask, LENS)
    assert np.isnan(points[:2]).all() and np.isfinite(points[2:]).all()


@given(angles, angles)
def test_a_box_by_spread_is_right_handed_and_holds_its_points(yaw, roll):
    rotation = rotation_matrix([np.sin(roll / 2) * np.cos(yaw), np.sin(roll / 2) * np.sin(yaw), 0, np.cos(roll / 2)])
    grid = np.stack(np.meshgrid(*(np.linspace(-side / 2, side / 2, 5) for side in (0.3, 0.2, 0.1))), -1).reshape(-1, 3)
    middle = np.array([0.1, -0.2, 1.5])
    box = box_by_spread(grid @ rotation.T + middle)
    np.testing.assert_allclose(box.rotation @ box.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(box.rotation) == pytest.approx(1)
    np.testing.assert_allclose(box.size_m, (0.3, 0.2, 0.1), atol=1e-9)
    np.testing.assert_allclose(box.center_m, middle, atol=1e-9)
    assert box.rotation[:, 2] @ middle <= 1e-9  # z to the camera


@pytest.mark.parametrize(
    ("shares_and_depths_m", "kept_depths_m"),
    [
        (((0.95, 1.0), (0.05, 2.0)), [1.0]),
        (((0.85, 1.0), (0.15, 2.0)), [1.0, 2.0]),
        (((0.05, 1.0), (0.95, 2.0)), [2.0]),
        (((0.5, 1.0), (0.45, 2.0), (0.05, 2.03)), [1.0, 2.0, 2.03]),  # 1.5 % behind is no jump
        (((0.5, 1.0), (0.45, 2.0), (0.05, 2.05)), [1.0, 2.0]),  # 2.5 % is one
    ],
)
def test_few_points_behind_a_jump_are_left_out(shares_and_depths_m, kept_depths_m):
    depth_m = np.zeros((60, 150), np.float32)
    left = 10
    for share, depth in shares_and_depths_m:
        width = round(100 * share)
        depth_m[10:50, left : left + width] = depth
        left += width + 3  # without depth between them, so that nothing is behind a neighbour
    frame = Frame(np.zeros((60, 150, 3), np.uint8), depth_m=depth_m, intrinsics=Intrinsics(150.0, 150.0, 74.5, 29.5))
    surface = surface_of(frame, depth_m > 0, 0.5)
    assert np.unique(surface.points_m[:, 2].round(3)).tolist() == pytest.approx(kept_depths_m, abs=1e-3)
