"""The simulated tabletop: renders the scene of a seed, with its ground truth."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.errors import InvalidInput, RenderError
from reasonseg_ros.tabletop.facts import scene_facts
from reasonseg_ros.tabletop.layout import Layout, Look, Placed, still_layout
from reasonseg_ros.tabletop.model import SKY_PX, add_shape, add_table, load_mujoco, no_opengl, paint_of
from reasonseg_ros.tabletop.objects.household import PARTS, shapes
from reasonseg_ros.tabletop.objects.solids import Shape
from reasonseg_ros.tabletop.scene import Scene
from reasonseg_ros.types import RgbImage

SEED_RANGES: dict[str, range] = {
    "train": range(10_000_000),
    "val": range(10_000_000, 20_000_000),
    "test": range(20_000_000, 30_000_000),
    "demo": range(30_000_000, 40_000_000),
}
RESERVED_SEED = 1_000_000_000  # seeds from here are reserved for external tests

_SHOWN, _HIDDEN = 0, 5  # geom groups; the renderer draws groups 0 to 2
_FIRST_OBJECT = 1  # body 0 is the world


class World:
    """Renders tabletop scenes. One compiled model holds every shape; a scene only changes their poses and colours.

    Use it from one thread. Equal seeds give equal bytes, regardless of what was rendered before.

    Args:
        size_wh: image size, pixels.

    Raises:
        InvalidInput: the size is out of range.
        RenderError: OpenGL is missing; the message says what to install.
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
        fade = np.linspace(1, 0.45, SKY_PX)[:, None, None] * np.asarray(look.sky_rgb) * 255
        sky = np.broadcast_to(fade.astype(np.uint8), (6, SKY_PX, SKY_PX, 3))
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
        objects, parts = scene_facts(self.shapes, layout, depth_m, part_ids, owners)
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
        """A physics model of the table and only these objects. Body i + 1 is object i."""
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
            raise RenderError(no_opengl(error)) from error
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
        """Colours, depth, and one plus the geom id of each pixel, in two passes. The second gives ids and depth."""
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
        upright = slice(None, None, -1)  # OpenGL's rows start at the bottom
        return (
            np.ascontiguousarray(rgb[upright]),
            np.ascontiguousarray(depth_m[upright].astype(np.float32)),
            geom_of_code[np.minimum(code, len(geom_of_code) - 1)][upright],
        )

    def _number_parts(self, placed: tuple[Placed, ...]) -> tuple[NDArray[np.uint8], list[tuple[int, str]]]:
        """Part ids indexed by one plus the geom id, and (instance id, part name) of each part from 1."""
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


def check_seed(seed: int) -> None:
    if not 0 <= seed < RESERVED_SEED:
        raise InvalidInput(f"seed {seed}: must be from 0 to {RESERVED_SEED - 1}; see SEED_RANGES for their uses")
