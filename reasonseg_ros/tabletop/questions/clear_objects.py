"""The clearly visible objects of a scene, and the words for sides, edges and measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reasonseg_ros.tabletop.questions import knowledge
from reasonseg_ros.tabletop.scene import SceneObject

MIN_VISIBLE_SHARE = 0.4
MIN_AREA_SHARE = 0.0008
"""Minimum visible share of a target, and minimum share of the image that it covers."""


class ClearObjects:
    """The objects in the image: which are clearly visible, where they are, and how they compare."""

    def __init__(self, objects: Sequence[SceneObject], size_wh: tuple[int, int]) -> None:
        self.width, self.height = size_wh
        seen = [item for item in objects if item.area_px > 0]
        least_px = MIN_AREA_SHARE * self.width * self.height
        self.clear = [o for o in seen if o.visible_share >= MIN_VISIBLE_SHARE and o.area_px >= least_px]
        self.doubtful = [o for o in seen if o not in self.clear]
        self.clear.sort(key=self.x)
        self.present = {o.category for o in seen}

    def x(self, item: SceneObject) -> float:
        """Centre of the box, 0 (left) to 1."""
        return (item.box_xyxy[0] + item.box_xyxy[2]) / 2 / self.width

    def near(self, item: SceneObject) -> float:
        """Bottom of the box, 0 (top) to 1. On a table, lower means nearer."""
        return item.box_xyxy[3] / self.height

    def of_color(self, color: str) -> list[SceneObject] | None:
        """The objects of that colour; None if one is not clearly visible, or another may have a part of that colour."""
        seen = (*self.clear, *self.doubtful)
        if any(o.color != color and color in knowledge.SECONDARY_COLORS.get(o.category, ()) for o in seen):
            return None
        return self.all_of(lambda o: o.color == color)

    def where(self, item: SceneObject) -> str:
        y = (item.box_xyxy[1] + item.box_xyxy[3]) / 2 / self.height
        across = "left" if self.x(item) < 0.38 else "right" if self.x(item) > 0.62 else "middle"
        return f"{across} {'back' if y < 0.38 else 'front' if y > 0.62 else 'center'}"

    def describe(self, item: SceneObject) -> str:
        return f" {item.color} {item.category} {self.where(item)}"

    def all_of(self, test: Callable[[SceneObject], bool]) -> list[SceneObject] | None:
        """The objects that pass `test`, from left to right; None if one of them is not clearly visible."""
        return None if any(test(o) for o in self.doubtful) else [o for o in self.clear if test(o)]

    def winner(
        self, items: Sequence[SceneObject], value: Callable[[SceneObject], float], gap: float = 0.0, ratio: float = 1.0
    ) -> SceneObject | None:
        """The object with the largest value, if it leads the second by the gap and by the ratio; else None."""
        if len(items) < 2:
            return None
        first, second = sorted(items, key=value, reverse=True)[:2]
        return first if value(first) >= max(value(second) + gap, value(second) * ratio) else None

    def beside(self, anchor: SceneObject, side: str) -> list[SceneObject] | None:
        """The objects on that side of the anchor; None if that is doubtful for one."""
        sign, value, near_px, far_px = SIDES[side]
        found = []
        for item in (*self.clear, *self.doubtful):
            if item is anchor:
                continue
            ahead = sign * (getattr(self, value)(item) - getattr(self, value)(anchor))
            if near_px < ahead < far_px or (ahead >= far_px and item in self.doubtful):
                return None
            if ahead >= far_px:
                found.append(item)
        return sorted(found, key=self.x)


# For each side: sign, coordinate, and the two bounds (shares of the image) between which it is ambiguous.
SIDES = {
    "left of": (-1, "x", 0.02, 0.07),
    "right of": (1, "x", 0.02, 0.07),
    "in front of": (1, "near", 0.03, 0.10),
    "behind": (-1, "near", 0.03, 0.10),
}
EDGES: dict[str, tuple[Callable[[ClearObjects, SceneObject], float], float]] = {
    "leftmost": (lambda view, o: -view.x(o), 0.05),
    "rightmost": (lambda view, o: view.x(o), 0.05),
    "nearest": (lambda view, o: view.near(o), 0.07),
    "farthest": (lambda view, o: -view.near(o), 0.07),
}
MEASURES = {
    "tallest": (lambda o: o.size_m[2], 1.25),
    "longest": (lambda o: max(o.size_m), 1.2),
    "largest": (lambda o: o.size_m[0] * o.size_m[1] * o.size_m[2], 1.6),
    "smallest": (lambda o: 1 / (o.size_m[0] * o.size_m[1] * o.size_m[2]), 1.6),
    "roundest": (lambda o: min(o.size_m) / max(o.size_m), 1.25),
}
