from __future__ import annotations

import subprocess
import sys
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from reasonseg_ros.errors import InvalidInput, RenderError
from reasonseg_ros.tabletop.contact_sheet import contact_sheet, outlined
from reasonseg_ros.tabletop.layout import Layout, draw_look, draw_paint, rest_on_table, still_layout
from reasonseg_ros.tabletop.objects.household import NATURAL_COLORS, PARTS, VARIANTS, shapes
from reasonseg_ros.tabletop.objects.solids import lathe_mesh
from reasonseg_ros.tabletop.scene import CATEGORIES, COLORS, Scene
from reasonseg_ros.tabletop.videos.film import film
from reasonseg_ros.tabletop.world import RESERVED_SEED, SEED_RANGES, World

SEEDS = range(6)


@pytest.fixture(scope="module")
def scenes(world: World) -> list[Scene]:
    return [world.scene(seed) for seed in SEEDS]


def in_table_frame(scene: Scene) -> np.ndarray:
    """Each pixel's point, from depth and intrinsics alone."""
    v, u = np.mgrid[: scene.depth_m.shape[0], : scene.depth_m.shape[1]]
    lens, z = scene.intrinsics, scene.depth_m.astype(float)
    points = np.stack([(u - lens.cx_px) / lens.fx_px * z, (v - lens.cy_px) / lens.fy_px * z, z], -1)
    return points @ scene.table_from_camera[:3, :3].T + scene.table_from_camera[:3, 3]


def alone(world: World, category: str, variant: int = 0, rest: int = 0) -> Scene:
    rng = np.random.default_rng(3)
    color = NATURAL_COLORS.get(category, COLORS)[0]
    index = CATEGORIES.index(category) * VARIANTS + variant
    item = rest_on_table(world.shapes, index, color, draw_paint(rng, color), rest, -1.2, (0.0, 0.0))
    look = draw_look(rng)
    world.dress(look)
    return world.render(0, Layout(look, (item,)))


def same(a: Scene, b: Scene) -> bool:
    arrays = ("rgb", "depth_m", "instance_ids", "part_ids")
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in arrays) and a.objects == b.objects


def test_true_boxes_hold_what_is_seen_of_objects_and_parts(scenes):
    for scene in scenes:
        points = (in_table_frame(scene) - scene.table_from_camera[:3, 3]) @ scene.table_from_camera[:3, :3]
        for ids, items, key in (
            (scene.instance_ids, scene.objects, "instance_id"),
            (scene.part_ids, scene.parts, "part_id"),
        ):
            for item in items:
                box = scene.box_in_camera(item)
                inside = (points[ids == getattr(item, key)] - box.center_m) @ box.rotation
                assert (np.abs(inside) <= box.size_m / 2 + 0.004).all(), (scene.seed, item)
                np.testing.assert_allclose(box.rotation.T @ box.rotation, np.eye(3), atol=1e-12)


def test_a_seed_gives_the_same_bytes_whatever_came_before(world: World, scenes: list[Scene]) -> None:
    assert all(same(world.scene(seed), scene) for seed, scene in reversed(list(zip(SEEDS, scenes, strict=True))))
    assert same(World((320, 240)).scene(4), scenes[4])
    assert not np.array_equal(scenes[0].rgb, scenes[1].rgb)


def test_facts_agree_with_the_id_images(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.rgb.shape == (240, 320, 3) and scene.rgb.flags.c_contiguous
        assert set(np.unique(scene.instance_ids)) - {0} == {o.instance_id for o in scene.objects if o.area_px}
        for item in scene.objects:
            mask = scene.mask((item.instance_id,))
            assert item.area_px == mask.sum() > 0
            ys, xs = np.nonzero(mask)
            assert item.box_xyxy == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            assert mask[item.point_xy[1], item.point_xy[0]]
            assert item.depth_m == pytest.approx(np.median(scene.depth_m[mask]))
            own = [part for part in scene.parts if part.instance_id == item.instance_id]
            assert [part.name for part in own] == list(PARTS[item.category])
            assert np.array_equal(mask, np.isin(scene.part_ids, [part.part_id for part in own]))
            assert all(part.area_px == (scene.part_ids == part.part_id).sum() for part in own)


def test_scenes_vary_within_their_limits(world: World) -> None:
    layouts = [still_layout(seed, world.shapes, world.size_wh) for seed in range(150)]
    counts = {len(layout.placed) for layout in layouts}
    assert counts == {3, 4, 5, 6, 7, 8}
    placed = [item for layout in layouts for item in layout.placed]
    assert {item.shape_index for item in placed} == set(range(len(world.shapes)))
    assert {item.color for item in placed} == set(COLORS)
    for layout in layouts:
        names = [(world.shapes[item.shape_index].category, item.color) for item in layout.placed]
        assert len(set(names)) == len(names)


def test_nothing_interpenetrates(world: World) -> None:
    # MuJoCo's own contacts know nothing of the footprints that the layout goes by.
    mj = world.mujoco
    for seed in range(12):
        placed = still_layout(seed, world.shapes, world.size_wh).placed
        model = world.compile_physics(tuple(world.shapes[item.shape_index] for item in placed), 0.004)
        data = mj.MjData(model)
        for i, item in enumerate(placed):
            data.qpos[7 * i : 7 * i + 3] = item.position_m
            mj.mju_mat2Quat(data.qpos[7 * i + 3 : 7 * i + 7], item.rotation.ravel())
        mj.mj_forward(model, data)
        for contact in data.contact[: data.ncon]:
            bodies = model.geom_bodyid[list(contact.geom)]
            assert 0 in bodies and contact.dist > -0.0015, (seed, bodies, contact.dist)
        assert all(item.points(world.shapes)[:, 2].min() > 0 for item in placed)


def test_depth_and_pose_agree_with_the_geometry(scenes: list[Scene]) -> None:
    for scene in scenes:
        points = in_table_frame(scene)
        table = (scene.instance_ids == 0) & (np.abs(points[..., :2]) < (0.45, 0.35)).all(-1) & (points[..., 2] > -0.3)
        assert table.sum() > 1000
        assert np.abs(points[table][:, 2]).max() < 0.002
        for item in scene.objects:
            seen = points[scene.mask((item.instance_id,))]
            reach_m = np.hypot(*item.size_m[:2]) / 2 + 0.004
            assert np.linalg.norm(seen[:, :2] - item.position_m[:2], axis=1).max() < reach_m
            assert seen[:, 2].min() > -0.003 and seen[:, 2].max() < item.size_m[2] + 0.004


def test_a_can_is_where_and_as_large_as_it_is_said_to_be(world: World) -> None:
    scene = alone(world, "can")
    lid = next(part for part in scene.parts if part.name == "lid")
    top = in_table_frame(scene)[scene.part_ids == lid.part_id]
    assert np.median(top[:, 2]) == pytest.approx(scene.objects[0].size_m[2], abs=0.004)
    assert top[:, :2].mean(0) == pytest.approx((0, 0), abs=0.006)
    assert scene.objects[0].position_m[:2] == pytest.approx((0, 0), abs=0.003)


@pytest.mark.parametrize("category", CATEGORIES)
def test_an_object_alone_is_wholly_visible_with_all_its_parts(world: World, category: str) -> None:
    for variant in range(VARIANTS):
        shape = world.shapes[CATEGORIES.index(category) * VARIANTS + variant]
        scenes = [alone(world, category, variant, rest) for rest in range(len(shape.rests))]
        assert min(scene.objects[0].visible_share for scene in scenes) > 0.9
        assert {part.name for scene in scenes for part in scene.parts if part.area_px} == set(PARTS[category])


def test_visible_share_is_what_rendering_the_object_alone_gives(world: World) -> None:
    compared = 0
    for seed in range(60):
        layout = still_layout(seed, world.shapes, world.size_wh)
        if len(layout.placed) < 7:
            continue
        scene = world.scene(seed)
        for item, placed in zip(scene.objects, layout.placed, strict=True):
            if item.visible_share < 0.85:
                single = world.render(seed, Layout(layout.look, (placed,))).objects[0]
                assert item.visible_share == pytest.approx(item.area_px / single.area_px, abs=0.08)
                compared += 1
        if compared >= 2:
            return
    pytest.fail(f"only {compared} objects were partly hidden")


def test_lying_objects_lie(world: World) -> None:
    for category in ("bottle", "can", "mug"):
        upright, lying = (alone(world, category, rest=rest).objects[0] for rest in (0, 1))
        assert lying.size_m[2] < upright.size_m[2]
        assert lying.visible_share > 0.9


def test_lathed_meshes_are_closed_and_turned_outwards() -> None:
    for shape in shapes():
        for solid in shape.solids:
            if solid.kind == "lathe":
                vertices, faces = lathe_mesh(solid.profile)
                edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
                assert {tuple(edge) for edge in edges} == {tuple(edge[::-1]) for edge in edges}
                a, b, c = (vertices[faces[:, i]] for i in range(3))
                assert (a * np.cross(b, c)).sum() > 0


def test_another_size_shows_the_same_kind_of_scene() -> None:
    try:
        scene = World((640, 480)).scene(SEED_RANGES["demo"][0])
    except RenderError as error:
        pytest.skip(str(error))
    assert scene.rgb.shape == (480, 640, 3) and scene.intrinsics.cx_px == 319.5
    assert len(scene.objects) >= 3 and all(item.area_px for item in scene.objects)


def test_seed_ranges_are_disjoint_and_the_reserved_seeds_refused(world: World) -> None:
    ranges = sorted(SEED_RANGES.values(), key=lambda seeds: seeds.start)
    assert all(a.stop <= b.start for a, b in pairwise(ranges))
    assert ranges[-1].stop <= RESERVED_SEED == 1_000_000_000
    for seed in (RESERVED_SEED, -1):
        for make in (world.scene, partial(film, world)):
            with pytest.raises(InvalidInput, match=str(seed)):
                make(seed)


def test_no_opengl_says_what_to_install(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    def broken(width: int, height: int) -> None:
        raise ImportError("Cannot initialize a EGL device display")

    monkeypatch.setattr(world.mujoco, "GLContext", broken)
    with pytest.raises(RenderError, match="libegl1"):
        World()


def test_an_impossible_image_size_is_refused() -> None:
    with pytest.raises(InvalidInput, match="8x240"):
        World((8, 240))


def test_the_contact_sheet_holds_every_image_in_its_place(scenes: list[Scene]) -> None:
    images = [scene.rgb for scene in scenes[:5]]
    sheet = contact_sheet(images, ["a short one", "", "words " * 30, "x", "y"], columns=2)
    height, width = images[0].shape[:2]
    step_y = (sheet.shape[0] - 4) // 3
    for i, image in enumerate(images):
        y, x = 4 + i // 2 * step_y, 4 + i % 2 * (width + 4)
        assert np.array_equal(sheet[y : y + height, x : x + width], image)
    with pytest.raises(InvalidInput, match="1 captions"):
        contact_sheet(images, ["one"])
    mask = scenes[0].mask((1,))
    changed = (outlined(scenes[0].rgb, [mask]) != scenes[0].rgb).any(-1)
    assert changed.any() and mask[changed].all()


def test_torch_can_be_imported_after_drawing(world: World) -> None:
    draw = "from reasonseg_ros.tabletop.world import World; World((64, 48)).scene(1)"
    load = "import torch; import transformers.activations"
    pytest.importorskip("torch")
    subprocess.run([sys.executable, "-c", f"{draw}; {load}"], check=True, timeout=120)
