"""The MuJoCo model: the table, its lamps, and a body for each object."""

from __future__ import annotations

import importlib
import os
from contextlib import suppress
from typing import Any

from reasonseg_ros.errors import RenderError
from reasonseg_ros.tabletop.layout import TABLE_HALF_M, TEXTURE_PX
from reasonseg_ros.tabletop.objects.solids import LABEL, MAIN, Shape, Solid, Vec3, lathe_mesh

SKY_PX = 32


def load_mujoco() -> Any:
    """Import MuJoCo with a renderer that needs no display. MUJOCO_GL=osmesa is respected. Raises RenderError."""
    os.environ.setdefault("MUJOCO_GL", "egl")
    # Mesa and triton (which torch loads) each contain LLVM. The process crashes unless triton's is loaded first.
    with suppress(ImportError):
        importlib.import_module("triton._C.libtriton")
    try:
        import mujoco
    except Exception as error:  # a missing libEGL surfaces as AttributeError, a missing package as ImportError
        raise RenderError(no_opengl(error)) from error
    return mujoco


def paint_of(solid: Solid, color: str, rgb: Vec3) -> Vec3:
    """RGB of one solid, from the object's colour name and value."""
    if solid.paint == LABEL:
        return (0.36, 0.42, 0.52) if color == "white" else (0.88, 0.86, 0.80)
    if solid.paint != MAIN:
        return solid.paint  # type: ignore[return-value]
    if color == "black" and solid.shade != 1.0:  # black cannot be darkened, so it is lightened
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
        width=SKY_PX, height=SKY_PX, rgb1=(1, 1, 1),
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


def no_opengl(error: Exception) -> str:
    backend = os.environ.get("MUJOCO_GL", "")
    return (
        f"the simulated tabletop cannot render with MUJOCO_GL={backend} ({type(error).__name__}: {error}). Install the "
        "package mujoco and, on Debian or Ubuntu, libegl1 and libgl1-mesa-dri for MUJOCO_GL=egl, or libosmesa6 for "
        "MUJOCO_GL=osmesa"
    )
