"""The household objects. Each is a small set of solids that belong to named parts."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from reasonseg_ros.tabletop.objects.builder import Builder
from reasonseg_ros.tabletop.objects.solids import LABEL, Shape, Vec3, rotation_about
from reasonseg_ros.tabletop.scene import CATEGORIES

STEEL: Vec3 = (0.58, 0.60, 0.65)
DARK: Vec3 = (0.16, 0.16, 0.18)
BROWN: Vec3 = (0.32, 0.21, 0.09)
PAPER: Vec3 = (0.90, 0.87, 0.78)

VARIANTS = 4
PARTS: dict[str, tuple[str, ...]] = {
    "mug": ("body", "handle", "contents"),
    "bowl": ("body", "base"),
    "bottle": ("body", "cap", "label"),
    "can": ("body", "lid", "band"),
    "hammer": ("handle", "head"),
    "screwdriver": ("handle", "shaft"),
    "banana": ("body", "stem"),
    "apple": ("body", "stem", "leaf"),
    "book": ("cover", "pages", "label"),
    "knife": ("handle", "blade"),
    "sponge": ("body", "scrubber"),
    "pen": ("body", "cap"),
    "flashlight": ("body", "head", "lens"),
    "scissors": ("blades", "handles"),
}
NATURAL_COLORS: dict[str, tuple[str, ...]] = {"banana": ("yellow", "green"), "apple": ("red", "green", "yellow")}


def shapes() -> tuple[Shape, ...]:
    """All shapes, VARIANTS of each category. Every call gives the same ones."""
    found = []
    for index, category in enumerate(CATEGORIES):
        for variant in range(VARIANTS):
            rng = np.random.default_rng([2024, index, variant])
            scale = 0.82 + 0.36 * (variant + rng.uniform()) / VARIANTS
            builder = Builder(scale, rng)
            rests = _BUILDERS[category](builder)
            found.append(Shape(category, tuple(builder.solids), (np.eye(3), *rests)))
    return tuple(found)


Rests = tuple[NDArray[np.float64], ...]


def _mug(b: Builder) -> Rests:
    radius, height, flare, wall = b.about(0.039), b.about(0.09), b.about(1.0, 0.08), 0.004
    foot = radius / flare
    b.lathe(
        "body",
        [
            (0, 0), (foot * 0.92, 0), (foot, 0.006), (radius, height),
            (radius - wall, height), (foot - wall, 0.008), (0, 0.008),
        ],
    )  # fmt: skip
    reach, rise, thick = b.about(0.029, 0.2), height * b.about(0.32), b.about(0.006)
    edge = (radius + foot) / 2 - 0.003
    arc = np.linspace(0, math.pi, 8)
    b.chain("handle", thick, [(edge + reach * math.sin(t), 0, height * 0.53 + rise * math.cos(t)) for t in arc])
    level = b.about(0.72, 0.15)
    inner = foot + (radius - foot) * level - wall * 0.8
    drink = b.pick((0.20, 0.10, 0.05), (0.45, 0.22, 0.06), (0.55, 0.38, 0.25))
    b.rod("contents", inner, (0, 0, height * level - 0.003), (0, 0, height * level), drink, solid=False)
    # Lying on its side, a mug rests on its wall and its handle.
    sink = math.asin((radius - thick) / (edge + reach + thick))
    return (rotation_about("x", math.pi / 2) @ rotation_about("z", -sink),)


def _bowl(b: Builder) -> Rests:
    foot, rim, height, wall = b.about(0.032), b.about(0.068), b.about(0.05, 0.25), 0.004
    middle = foot + (rim - foot) * b.about(0.72, 0.1)
    b.lathe(
        "body",
        [
            (0, 0.006), (foot, 0.006), (middle, height * 0.45), (rim, height), (rim - wall, height),
            (middle - wall, height * 0.47), (foot - wall, 0.011), (0, 0.011),
        ],
    )  # fmt: skip
    b.rod("base", foot * 0.95, (0, 0, 0), (0, 0, 0.009), shade=0.7)
    return (rotation_about("x", math.pi),)


def _bottle(b: Builder) -> Rests:
    radius, shoulder, neck = b.about(0.032), b.about(0.125, 0.2), b.about(0.0125)
    top = shoulder + b.about(0.055, 0.25)
    b.lathe(
        "body",
        [
            (0, 0), (radius * 0.93, 0), (radius, 0.005), (radius, shoulder), (radius * 0.85, shoulder + 0.014),
            (neck * 1.2, shoulder + 0.03), (neck, shoulder + 0.036), (neck, top), (0, top),
        ],
    )  # fmt: skip
    b.rod("cap", neck + 0.0025, (0, 0, top - 0.012), (0, 0, top + 0.006), b.pick(DARK, STEEL, (0.85, 0.84, 0.8)))
    low = shoulder * b.about(0.25, 0.3)
    high = low + shoulder * b.about(0.42, 0.2)
    b.rod("label", radius + 0.0006, (0, 0, low), (0, 0, high), LABEL, solid=False)
    return (rotation_about("x", math.pi / 2),)


def _can(b: Builder) -> Rests:
    radius, height = b.about(0.033), b.about(0.115, 0.2)
    b.rod("body", radius, (0, 0, 0.003), (0, 0, height))
    b.rod("lid", radius * 0.92, (0, 0, 0), (0, 0, height + 0.003), STEEL)
    b.box("lid", (0.010, 0.006, 0.001), (0.006, 0, height + 0.004), paint=(0.40, 0.41, 0.45))
    low = height * b.about(0.4, 0.2)
    b.rod("band", radius + 0.0005, (0, 0, low), (0, 0, low + height * b.about(0.22, 0.2)), LABEL, solid=False)
    return (rotation_about("x", math.pi / 2),)


def _hammer(b: Builder) -> Rests:
    grip, length, face = b.about(0.012), b.about(0.21), b.about(0.017)
    iron = b.pick((0.30, 0.30, 0.33), (0.42, 0.43, 0.46))
    z = face
    b.rod("handle", grip, (-length / 2, 0, z), (-length * 0.1, 0, z), shade=0.85, round_ends=True)
    b.rod("handle", grip * 0.85, (-length * 0.1, 0, z), (length / 2, 0, z))
    half = b.about(0.032)
    b.rod("head", face, (length / 2, -half - 0.012, z), (length / 2, -half + 0.012, z), iron)
    b.rod("head", face * 0.75, (length / 2, -half, z), (length / 2, half * 0.5, z), iron)
    for side in (-1, 1):
        prong = (length / 2 + side * 0.008, half * 0.5 + 0.022, z)
        b.box("head", (0.004, 0.026, face * 0.55), prong, yaw=-side * 0.15, paint=iron)
    return ()


def _screwdriver(b: Builder) -> Rests:
    grip, length, shaft = b.about(0.0145), b.about(0.085), b.about(0.11, 0.2)
    b.rod("handle", grip, (-length + grip, 0, grip), (-grip, 0, grip), round_ends=True)
    b.rod("handle", grip * 0.75, (-grip, 0, grip), (0.012, 0, grip), shade=0.75)
    b.rod("shaft", b.about(0.004), (0.012, 0, grip), (shaft, 0, grip), STEEL)
    b.box("shaft", (0.008, 0.006, 0.0014), (shaft + 0.004, 0, grip), paint=STEEL)
    return ()


def _banana(b: Builder) -> Rests:
    bend, thick = b.about(0.085, 0.15), b.about(0.0175)
    angles = np.linspace(-1.05, 1.05, 10)
    line = [(bend * math.sin(t), bend * math.cos(t) - bend * 0.75, thick) for t in angles]
    for i, (start, end) in enumerate(pairwise(line)):
        radius = thick * (0.55 + 0.45 * math.sin(math.pi * (i + 0.5) / (len(line) - 1)))
        b.rod("body", radius, start, end, round_ends=True)
    x, y, z = line[-1]
    b.rod("stem", 0.0055, (x, y, z), (x + 0.016, y - 0.020, z + 0.003), BROWN, round_ends=True)
    x, y, z = line[0]
    b.ball("body", (0.007, 0.007, 0.007), (x - 0.006, y - 0.009, z), (0.22, 0.16, 0.07))
    return ()


def _apple(b: Builder) -> Rests:
    radius = b.about(0.037)
    height = radius * b.about(0.92, 0.08)
    b.ball("body", (radius, radius, height), (0, 0, height))
    b.ball("body", (radius * 0.8, radius * 0.8, height * 0.78), (0, 0, height * 1.26), solid=False)
    top = height * 2.02
    b.rod("stem", 0.0026, (0, 0, top - 0.003), (0.004, 0.002, top + 0.016), BROWN, round_ends=True, solid=False)
    b.ball("leaf", (b.about(0.016), 0.008, 0.0022), (0.015, 0.002, top + 0.006), (0.16, 0.42, 0.12), solid=False)
    return ()


def _book(b: Builder) -> Rests:
    half_x, half_y, thick, board = b.about(0.065), b.about(0.092), b.about(0.014, 0.35), 0.0025
    top = 2 * (board + thick)
    b.box("cover", (half_x, half_y, board), (0, 0, board))
    b.box("cover", (half_x, half_y, board), (0, 0, top + board))
    b.box("cover", (0.003, half_y, thick + board), (-half_x + 0.003, 0, thick + 2 * board - board))
    b.box("pages", (half_x - 0.004, half_y - 0.003, thick), (0.001, 0, thick + 2 * board), paint=PAPER)
    label = (half_x * b.about(0.55, 0.2), half_y * b.about(0.16, 0.3), 0.0005)
    b.box("label", label, (0, half_y * b.about(0.4, 0.4), top + 2 * board + 0.0003), paint=LABEL)
    return ()


def _knife(b: Builder) -> Rests:
    grip, length, blade, wide = b.about(0.009), b.about(0.10), b.about(0.13, 0.2), b.about(0.012, 0.2)
    b.rod("handle", grip, (-length, 0, grip), (-grip, 0, grip), round_ends=True)
    b.box("blade", (blade / 2, wide, 0.0014), (blade / 2, 0.0, grip), paint=STEEL)
    b.ball("blade", (wide * 2, wide, 0.0014), (blade, 0, grip), paint=STEEL)
    return ()


def _sponge(b: Builder) -> Rests:
    half_x, half_y, thick, scrub = b.about(0.053), b.about(0.034), b.about(0.012, 0.2), b.about(0.005)
    b.box("scrubber", (half_x, half_y, scrub), (0, 0, scrub), paint=(0.24, 0.30, 0.27))
    b.box("body", (half_x, half_y, thick), (0, 0, 2 * scrub + thick))
    return ()


def _pen(b: Builder) -> Rests:
    radius, half = b.about(0.0065), b.about(0.066)
    z = radius * 1.15
    b.rod("body", radius, (-half * 0.4, 0, z), (half * 0.85, 0, z))
    b.rod("body", radius * 0.45, (half * 0.85, 0, z), (half, 0, z), DARK, round_ends=True)
    b.rod("cap", radius * 1.15, (-half, 0, z), (-half * 0.3, 0, z), shade=0.6)
    b.box("cap", (half * 0.26, 0.0017, 0.0018), (-half * 0.6, 0, z + radius * 1.3), paint=STEEL)
    return ()


def _flashlight(b: Builder) -> Rests:
    radius, length, bell = b.about(0.0165), b.about(0.10), b.about(0.024)
    z = bell
    b.rod("body", radius, (-length, 0, z), (0, 0, z))
    b.box("body", (0.009, 0.005, 0.003), (-length * 0.35, 0, z + radius), paint=DARK)
    b.rod("head", bell, (0, 0, z), (0.036, 0, z), (0.25, 0.25, 0.28))
    b.rod("lens", bell * 0.85, (0.030, 0, z), (0.0375, 0, z), (0.98, 0.95, 0.72))
    return (rotation_about("y", -math.pi / 2),)


def _scissors(b: Builder) -> Rests:
    blade, ring, thick = b.about(0.048), b.about(0.021), b.about(0.005)
    for side in (-1, 1):
        b.box("blades", (blade, 0.0068, 0.0016), (blade, 0, thick + side * 0.0016), yaw=side * 0.13, paint=STEEL)
        around = [2 * math.pi * i / 9 for i in range(10)]
        center_x, center_y = -ring * 1.9, side * ring * 0.95
        b.chain(
            "handles",
            thick,
            [(center_x + ring * math.cos(t), center_y + ring * 0.7 * math.sin(t), thick) for t in around],
        )
        b.rod("handles", thick, (center_x + ring * 0.9, center_y, thick), (0, side * 0.002, thick), round_ends=True)
    return ()


_BUILDERS: dict[str, Callable[[Builder], Rests]] = {
    "mug": _mug,
    "bowl": _bowl,
    "bottle": _bottle,
    "can": _can,
    "hammer": _hammer,
    "screwdriver": _screwdriver,
    "banana": _banana,
    "apple": _apple,
    "book": _book,
    "knife": _knife,
    "sponge": _sponge,
    "pen": _pen,
    "flashlight": _flashlight,
    "scissors": _scissors,
}
