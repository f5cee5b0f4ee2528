"""Boxes in space of what the camera sees on the table, against the true ones."""

import numpy as np

from reasonseg_ros.space.points import surface_of
from reasonseg_ros.types import Frame


def test_middles_are_within_a_centimetre_in_the_median(world):
    errors_m, shares = [], []
    for seed in range(20_000_000, 20_000_008):
        scene = world.scene(seed)
        frame = Frame(scene.rgb, depth_m=scene.depth_m, intrinsics=scene.intrinsics)
        for item in scene.objects:
            if item.visible_share > 0.4:
                surface = surface_of(frame, scene.mask((item.instance_id,)), 0.3)
                assert surface.box is not None, (seed, item)
                errors_m.append(np.linalg.norm(surface.box.center_m - scene.box_in_camera(item).center_m))
                shares.append(surface.is_supported)
    assert len(errors_m) > 30
    assert np.median(errors_m) < 0.01
    assert np.mean(shares) > 0.9
