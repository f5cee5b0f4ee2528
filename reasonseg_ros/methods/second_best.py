"""The second-best candidate of an unsure answer, so that a robot can ask "this or that?"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reasonseg_ros.geometry import mask_iou
from reasonseg_ros.methods.candidates import SAME_MASK_IOU, counted, union
from reasonseg_ros.methods.port import Method
from reasonseg_ros.reasoner.abilities import Exploration
from reasonseg_ros.reasoner.call import Call, ignore
from reasonseg_ros.segmenter.regions import build_region
from reasonseg_ros.types import Frame, Grounding, Region, Segmentation


def second_best(method: Method, found: Segmentation, call: Call) -> tuple[Region, ...] | None:
    """Regions of the most frequent sampled answer that differs from `found`. Empty if that answer is that nothing fits.

    None if the reasoner gives no samples, all samples agree, or a limit stopped them. Number and temperature of the
    samples are those of `candidates.*`. Raises what the models do.
    """
    chosen = method.settings.now.candidates
    wanted = Exploration(max(chosen.samples, 1), chosen.temperature, chosen.seed)
    if not wanted.needs <= method.reasoner.abilities or call.cancelled():
        return None
    silent = replace(call, on_text=ignore, on_stage=ignore)
    explored = method.reasoner.explore(found.frame, found.query.text, wanted, silent)
    for answer, _, _ in counted(found.answer, explored.samples)[1:]:
        if not answer.groundings:
            return ()
        regions = _drawn(method, found.frame, answer.groundings)
        mask = union(regions, found.frame.size_wh)
        if mask.any() and mask_iou(mask, found.mask) <= SAME_MASK_IOU:
            return tuple(region for region in regions if region.mask.any())
    return None


def _drawn(method: Method, frame: Frame, groundings: Sequence[Grounding]) -> list[Region]:
    masks = method.segmenter.decode(method.segmenter.encode(frame.rgb), groundings)
    config = method.settings.now.segmenter
    return [build_region(grounding, mask, config) for grounding, mask in zip(groundings, masks, strict=True)]
