"""The simulated tabletop: a seed goes in, a rendered scene with its ground truth comes out."""

from __future__ import annotations

import importlib
import os
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput, RenderError
from reasonseg_ros.tabletop.layout import TABLE_HALF_M, TEXTURE_PX, Layout, Look, Placed, still_layout, upright_box
from reasonseg_ros.tabletop.objects import LABEL, MAIN, PARTS, Shape, Solid, Vec3, lathe_mesh, shapes
from reasonseg_ros.tabletop.scene import Scene, SceneObject, ScenePart
from reasonseg_ros.types import RgbImage

SEED_RANGES: dict[str, range] = {
    "train": range(10_000_000),
    "val": range(10_000_000, 20_000_000),
    "test": range(20_000_000, 30_000_000),
    "demo": range(30_000_000, 40_000_000),
}
RESERVED_SEED = 1_000_000_000  # seeds from here are reserved for external tests

_SKY_PX = 32
_SHOWN, _HIDDEN = 0, 5  # geom groups; the renderer draws groups 0 to 2
_FIRST_OBJECT = 1  # body 0 is the world
_FINER = 4  # filling a polygon paints its outline too, which a finer grid makes negligible


class World:
    """Renders tabletop scenes. One compiled model holds every shape; a scene only moves and repaints them.

    Use it from one thread. Equal seeds give equal bytes, regardless of what was rendered before.

    Args:
        size_wh: of the images, in pixels.

    Raises:
        RenderError: there is no OpenGL; the message says what to install.
    """

    def __init__(self, size_wh: tuple[int, int] = (320, 240)) -> None:
        if min(size_wh) < 16 or max(size_wh) > 4096:
            raise InvalidInput(f"image size {size_wh[0]}x{size_wh[1]}: both sides must be from 16 to 4096 pixels")
        self.size_wh = size_wh
        self.shapes = shapes()
        self.mujoco = load_mujoco()
        self._model = self._compile()
        self._data = self.mujoco.MjData(self._model)
        self._open_renderer()

    def scene(self, seed: int) -> Scene:
        """The still scene of a seed from 0 to RESERVED_SEED - 1; SEED_RANGES lists their uses."""
        check_seed(seed)
        layout = still_layout(seed, self.shapes, self.size_wh)
        self.dress(layout.look)
        return self.render(seed, layout)

    def dress(self, look: Look) -> None:
        """Set table, light and sky."""
        self._gl.make_current()
        model = self._model
        for i, lamp in enumerate(look.lamps):
            model.light_pos[i] = lamp.position_m
            model.light_diffuse[i] = lamp.rgb
            model.light_specular[i] = np.asarray(lamp.rgb) * 0.5
        model.vis.headlight.ambient[:] = look.ambient
        model.vis.global_.fovy = look.camera.fovy_deg
        model.mat_reflectance[self._table_material] = look.gloss
        model.geom_rgba[self._floor_geom, :3] = look.floor_rgb
        fade = np.linspace(1, 0.45, _SKY_PX)[:, None, None] * np.asarray(look.sky_rgb) * 255
        sky = np.broadcast_to(fade.astype(np.uint8), (6, _SKY_PX, _SKY_PX, 3))
        for texture, pixels in ((self._table_texture, look.table_rgb), (self._sky_texture, sky)):
            start = model.tex_adr[texture]
            model.tex_data[start : start + pixels.size] = pixels.ravel()
            self.mujoco.mjr_uploadTexture(model, self._context, texture)

    def render(self, seed: int, layout: Layout) -> Scene:
        """Render a layout's objects, after `dress`."""
        self._gl.make_current()
        self._arrange(layout.placed)
        rgb, depth_m, geom_ids = self._read(layout.look)
        part_of_geom, owners = self._number_parts(layout.placed)
        part_ids = part_of_geom[geom_ids]
        instance_of_part = np.array([0] + [instance for instance, _ in owners], np.uint8)
        objects, parts = self._facts(layout, depth_m, part_ids, owners)
        return Scene(
            seed=seed,
            rgb=rgb,
            depth_m=depth_m,
            instance_ids=instance_of_part[part_ids],
            part_ids=part_ids,
            objects=objects,
            parts=parts,
            intrinsics=layout.look.camera.intrinsics(self.size_wh),
            table_from_camera=layout.look.camera.table_from_camera(),
        )

    def compile_physics(self, chosen: tuple[Shape, ...], step_s: float) -> Any:
        """A model of the table and these objects alone, body i + 1 being the i-th; made to be stepped, not drawn."""
        spec = self.mujoco.MjSpec()
        spec.option.timestep = step_s
        add_table(self.mujoco, spec)
        for index, shape in enumerate(chosen):
            add_shape(self.mujoco, spec, shape, f"shape{index}")
        return spec.compile()

    def _compile(self) -> Any:
        mj = self.mujoco
        spec = mj.MjSpec()
        spec.visual.quality.shadowsize = 1024
        spec.visual.quality.offsamples = 4
        spec.visual.global_.offwidth, spec.visual.global_.offheight = self.size_wh
        spec.visual.map.znear, spec.visual.map.zfar = 0.02, 20.0
        spec.stat.extent, spec.stat.center = 1.0, (0, 0, 0)
        spec.visual.headlight.diffuse = (0.2, 0.2, 0.2)
        spec.visual.headlight.specular = (0.05, 0.05, 0.05)
        add_table(mj, spec)
        for index, shape in enumerate(self.shapes):
            add_shape(mj, spec, shape, f"shape{index}")
        return spec.compile()

    def _open_renderer(self) -> None:
        mj, model = self.mujoco, self._model
        try:
            self._gl = mj.GLContext(*self.size_wh)
            self._gl.make_current()
            self._context = mj.MjrContext(model, mj.mjtFontScale.mjFONTSCALE_150.value)
            model.vis.quality.offsamples = 0  # ids must not be blended at edges
            self._id_context = mj.MjrContext(model, mj.mjtFontScale.mjFONTSCALE_150.value)
        except Exception as error:  # the OpenGL binding raises platform-specific errors
            raise RenderError(_no_opengl(error)) from error
        self._id_context.readDepthMap = mj.mjtDepthMap.mjDEPTH_ZEROFAR
        self._drawn = mj.MjvScene(model, maxgeom=1000)
        self._option = mj.MjvOption()
        self._table_material = model.material("table").id
        self._table_texture = model.texture("table").id
        self._sky_texture = model.texture("sky").id
        self._floor_geom = model.geom("floor").id

    def _arrange(self, placed: tuple[Placed, ...]) -> None:
        model, data = self._model, self._data
        model.geom_group[model.geom_bodyid >= _FIRST_OBJECT] = _HIDDEN
        for item in placed:
            place = 7 * item.shape_index
            data.qpos[place : place + 3] = item.position_m
            self.mujoco.mju_mat2Quat(data.qpos[place + 3 : place + 7], item.rotation.ravel())
            first = model.body_geomadr[item.shape_index + _FIRST_OBJECT]
            for geom, solid in enumerate(self.shapes[item.shape_index].solids, first):
                model.geom_group[geom] = _SHOWN
                model.geom_rgba[geom, :3] = paint_of(solid, item.color, item.rgb)
        self.mujoco.mj_kinematics(model, data)
        self.mujoco.mj_camlight(model, data)

    def _read(self, look: Look) -> tuple[RgbImage, NDArray[np.float32], NDArray[np.int64]]:
        """Colours, depth and one plus the geom id of each pixel: two passes, the second gives ids and depth at once."""
        mj, model, drawn = self.mujoco, self._model, self._drawn
        width, height = self.size_wh
        view = mj.MjvCamera()
        view.lookat[:] = look.camera.look_at_m
        view.distance = look.camera.distance_m
        view.azimuth, view.elevation = look.camera.azimuth_deg, look.camera.elevation_deg
        mj.mjv_updateScene(model, self._data, self._option, None, view, mj.mjtCatBit.mjCAT_ALL.value, drawn)
        area = mj.MjrRect(0, 0, width, height)
        rgb = np.empty((height, width, 3), np.uint8)
        mj.mjr_setBuffer(mj.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        mj.mjr_render(area, drawn, self._context)
        mj.mjr_readPixels(rgb, None, area, self._context)

        flags = drawn.flags.copy()
        drawn.flags[mj.mjtRndFlag.mjRND_SEGMENT] = 1
        drawn.flags[mj.mjtRndFlag.mjRND_IDCOLOR] = 1
        drawn.flags[mj.mjtRndFlag.mjRND_SHADOW] = 0
        codes = np.empty((height, width, 3), np.uint8)
        buffer = np.empty((height, width), np.float32)
        mj.mjr_setBuffer(mj.mjtFramebuffer.mjFB_OFFSCREEN.value, self._id_context)
        mj.mjr_render(area, drawn, self._id_context)
        mj.mjr_readPixels(codes, buffer, area, self._id_context)
        drawn.flags[:] = flags

        geom_of_code = np.zeros(drawn.ngeom + 2, np.int64)
        for geom in drawn.geoms[: drawn.ngeom]:
            if geom.segid >= 0 and geom.objtype == mj.mjtObj.mjOBJ_GEOM:
                geom_of_code[geom.segid + 1] = geom.objid + 1
        code = codes[..., 0].astype(np.int64) + 256 * codes[..., 1].astype(np.int64)
        near, far = model.vis.map.znear * model.stat.extent, model.vis.map.zfar * model.stat.extent
        depth_m = near * far / (near + buffer.astype(np.float64) * (far - near))
        upright = slice(None, None, -1)  # OpenGL counts rows from below
        return (
            np.ascontiguousarray(rgb[upright]),
            np.ascontiguousarray(depth_m[upright].astype(np.float32)),
            geom_of_code[np.minimum(code, len(geom_of_code) - 1)][upright],
        )

    def _number_parts(self, placed: tuple[Placed, ...]) -> tuple[NDArray[np.uint8], list[tuple[int, str]]]:
        """Part id of one plus the geom id, and the (instance id, part name) of part 1, 2, ..."""
        part_of_geom = np.zeros(self._model.ngeom + 1, np.uint8)
        owners: list[tuple[int, str]] = []
        for instance_id, item in enumerate(placed, 1):
            shape = self.shapes[item.shape_index]
            first_part = len(owners) + 1
            owners += [(instance_id, name) for name in PARTS[shape.category]]
            first = self._model.body_geomadr[item.shape_index + _FIRST_OBJECT]
            for geom, solid in enumerate(shape.solids, first):
                part_of_geom[geom + 1] = first_part + PARTS[shape.category].index(solid.part)
        return part_of_geom, owners

    def _facts(
        self,
        layout: Layout,
        depth_m: NDArray[np.float32],
        part_ids: NDArray[np.uint8],
        owners: list[tuple[int, str]],
    ) -> tuple[tuple[SceneObject, ...], tuple[ScenePart, ...]]:
        pixels = _pixels_by_id(part_ids, len(owners))
        parts = []
        for part_id, ((instance_id, name), xy) in enumerate(zip(owners, pixels, strict=True), 1):
            item = layout.placed[instance_id - 1]
            extent = upright_box(item.part_points(self.shapes, name))
            parts.append(ScenePart(part_id, instance_id, name, len(xy), _box(xy), _middle(xy), *extent))
        objects = []
        for instance_id, item in enumerate(layout.placed, 1):
            own = [xy for (owner, _), xy in zip(owners, pixels, strict=True) if owner == instance_id]
            xy = np.concatenate(own)
            position_m, size_m, yaw_rad = upright_box(item.points(self.shapes))
            alone = self._silhouette_area(layout, item)
            objects.append(
                SceneObject(
                    instance_id=instance_id,
                    category=self.shapes[item.shape_index].category,
                    color=item.color,
                    position_m=position_m,
                    size_m=size_m,
                    area_px=len(xy),
                    visible_share=min(1.0, len(xy) / max(alone, 1)),
                    box_xyxy=_box(xy),
                    point_xy=_middle(xy),
                    depth_m=float(np.median(depth_m[xy[:, 1], xy[:, 0]])) if len(xy) else 0.0,
                    yaw_rad=yaw_rad,
                )
            )
        return tuple(objects), tuple(parts)

    def _silhouette_area(self, layout: Layout, item: Placed) -> float:
        """Pixels that the object would cover alone: its convex pieces, projected and filled on a finer grid."""
        pieces = item.hulls(self.shapes)
        pixels = layout.look.camera.project(np.concatenate(pieces), self.size_wh)
        corner = np.clip(np.floor(pixels.min(0)), 0, self.size_wh)
        far_corner = np.clip(np.ceil(pixels.max(0)) + 1, 0, self.size_wh)
        width, height = ((far_corner - corner) * _FINER).astype(int)
        if width < 1 or height < 1:  # wholly outside the image
            return 0.0
        canvas = np.zeros((height, width), np.uint8)
        fine = np.round((pixels - corner + 0.5) * _FINER - 0.5).astype(np.int32)
        start = 0
        for piece in pieces:
            cv2.fillConvexPoly(canvas, cv2.convexHull(fine[start : start + len(piece)]), 1)
            start += len(piece)
        return np.count_nonzero(canvas) / _FINER**2


def load_mujoco() -> Any:
    """Import MuJoCo with a renderer that needs no display; MUJOCO_GL=osmesa is respected."""
    os.environ.setdefault("MUJOCO_GL", "egl")
    # Mesa and triton (which torch loads) each bring an LLVM. The process dies unless triton's is loaded first.
    with suppress(ImportError):
        importlib.import_module("triton._C.libtriton")
    try:
        import mujoco
    except Exception as error:  # a missing libEGL surfaces as AttributeError, a missing package as ImportError
        raise RenderError(_no_opengl(error)) from error
    return mujoco


def check_seed(seed: int) -> None:
    if not 0 <= seed < RESERVED_SEED:
        raise InvalidInput(f"seed {seed}: must be from 0 to {RESERVED_SEED - 1}; see SEED_RANGES for their uses")


def paint_of(solid: Solid, color: str, rgb: Vec3) -> Vec3:
    """The colour of one solid, from the object's colour name and value."""
    if solid.paint == LABEL:
        return (0.36, 0.42, 0.52) if color == "white" else (0.88, 0.86, 0.80)
    if solid.paint != MAIN:
        return solid.paint  # type: ignore[return-value]
    if color == "black" and solid.shade != 1.0:  # black cannot be shaded; lift it instead
        return (rgb[0] + 0.10, rgb[1] + 0.10, rgb[2] + 0.10)
    return (rgb[0] * solid.shade, rgb[1] * solid.shade, rgb[2] * solid.shade)


def add_table(mj: Any, spec: Any) -> None:
    """Table, floor, sky and two lamps, the first of which casts shadows."""
    spec.add_texture(
        name="table", type=mj.mjtTexture.mjTEXTURE_2D, builtin=mj.mjtBuiltin.mjBUILTIN_FLAT,
        width=TEXTURE_PX, height=TEXTURE_PX, rgb1=(1, 1, 1),
    )  # fmt: skip
    spec.add_texture(
        name="sky", type=mj.mjtTexture.mjTEXTURE_SKYBOX, builtin=mj.mjtBuiltin.mjBUILTIN_FLAT,
        width=_SKY_PX, height=_SKY_PX, rgb1=(1, 1, 1),
    )  # fmt: skip
    textures = [""] * mj.mjtTextureRole.mjNTEXROLE
    textures[mj.mjtTextureRole.mjTEXROLE_RGB] = "table"
    spec.add_material(name="table", textures=textures, texrepeat=(1, 1), specular=0.15, shininess=0.3)
    spec.add_material(name="glossy", specular=0.35, shininess=0.5, rgba=(1, 1, 1, 1))
    world = spec.worldbody
    half_x, half_y = TABLE_HALF_M
    box, plane = mj.mjtGeom.mjGEOM_BOX, mj.mjtGeom.mjGEOM_PLANE
    world.add_geom(name="table", type=box, size=(half_x, half_y, 0.02), pos=(0, 0, -0.02), material="table")
    world.add_geom(
        name="floor", type=plane, size=(4, 4, 0.1), pos=(0, 0, -0.7), rgba=(0.4, 0.4, 0.4, 1), contype=0, conaffinity=0
    )
    for shadow in (True, False):
        world.add_light(pos=(0, 0, 1), dir=(0, 0, -1), castshadow=shadow, cutoff=80)


def add_shape(mj: Any, spec: Any, shape: Shape, name: str) -> None:
    """One free body with a geom for each solid, in order."""
    kinds = {
        "box": mj.mjtGeom.mjGEOM_BOX,
        "cylinder": mj.mjtGeom.mjGEOM_CYLINDER,
        "capsule": mj.mjtGeom.mjGEOM_CAPSULE,
        "ellipsoid": mj.mjtGeom.mjGEOM_ELLIPSOID,
        "lathe": mj.mjtGeom.mjGEOM_MESH,
    }
    body = spec.worldbody.add_body(name=name)
    body.add_freejoint()
    for number, solid in enumerate(shape.solids):
        geom = body.add_geom(
            type=kinds[solid.kind], pos=solid.position, quat=solid.quat_wxyz, material="glossy",
            rgba=(0.5, 0.5, 0.5, 1), density=1000 if solid.solid else 0,
            contype=int(solid.solid), conaffinity=int(solid.solid),
            condim=6, friction=(0.8, 0.01, 0.002),
        )  # fmt: skip
        if solid.kind == "lathe":
            vertices, faces = lathe_mesh(solid.profile)
            mesh = f"{name}_{number}"
            spec.add_mesh(name=mesh, uservert=vertices.ravel().tolist(), userface=faces.ravel().tolist())
            geom.meshname = mesh
        else:
            geom.size = (*solid.size, 0, 0)[:3]


def _no_opengl(error: Exception) -> str:
    backend = os.environ.get("MUJOCO_GL", "")
    return (
        f"the simulated tabletop cannot draw with MUJOCO_GL={backend} ({type(error).__name__}: {error}). Install the "
        "package mujoco and, on Debian or Ubuntu, libegl1 and libgl1-mesa-dri for MUJOCO_GL=egl, or libosmesa6 for "
        "MUJOCO_GL=osmesa"
    )


def _pixels_by_id(ids: NDArray[np.uint8], count: int) -> list[NDArray[np.int64]]:
    """Pixels [N, 2] as x, y for id 1 to count, in one pass over the image."""
    ys, xs = np.nonzero(ids)
    found = ids[ys, xs]
    order = np.argsort(found, kind="stable")
    ends = np.cumsum(np.bincount(found, minlength=count + 1)[1:])
    return np.split(np.stack([xs[order], ys[order]], 1), ends[:-1])


def _box(xy: NDArray[np.int64]) -> tuple[int, int, int, int]:
    if not len(xy):
        return (0, 0, 0, 0)
    (x1, y1), (x2, y2) = xy.min(0).tolist(), xy.max(0).tolist()
    return (x1, y1, x2 + 1, y2 + 1)


def _middle(xy: NDArray[np.int64]) -> tuple[int, int]:
    if not len(xy):
        return (0, 0)
    x, y = xy[np.argmin(((xy - xy.mean(0)) ** 2).sum(1))].tolist()
    return (x, y)
