"""Everything mode as an answer: a region for each thing in the image, without a question."""

from __future__ import annotations

import time

import numpy as np

from reasonseg_ros.config.models import SegmenterConfig
from reasonseg_ros.methods.stages import failed
from reasonseg_ros.reasoner.call import WAIT, Call
from reasonseg_ros.segmenter.everything import Everything, Proposals, largest_first, suppressed
from reasonseg_ros.segmenter.port import Features, Segmenter
from reasonseg_ros.segmenter.regions import build_region, without_empty
from reasonseg_ros.types import Answer, Frame, Grounding, Query, Region, Segmentation, Status


class Unwanted(Exception):
    """The proposals are no longer needed."""


def propose(frame: Frame, segmenter: Segmenter, config: SegmenterConfig, call: Call = WAIT) -> Segmentation:
    """OK with a region for each proposal, the largest first; NO_TARGET if there is nothing. Never raises.

    The `Grounding` of each region has the proposal's box and the predicted IoU as score, and the point that found it
    unless the mask was drawn from the box.
    """
    begun_s = time.perf_counter()
    call.on_stage("segmenting")
    answer = Answer(Status.NO_TARGET)
    regions: tuple[Region, ...] = ()
    try:
        everything = Everything(segmenter)
        features = segmenter.encode(frame.rgb)
        proposals = proposals_for(everything, features, call)
        found = proposal_regions(everything, features, proposals, np.arange(len(proposals)), config)
        regions = tuple(found.values())
        if regions:
            answer = Answer(Status.OK, groundings=tuple(region.grounding for region in regions))
    except Unwanted:
        answer = Answer(Status.CANCELLED, error="cancelled while segmenting")
    except Exception as error:  # an error of a model is the status of one question
        answer = failed(answer, "segmenting", error)
    seconds = {"segmenting": time.perf_counter() - begun_s}
    return without_empty(Segmentation(frame, Query(""), answer, regions, seconds))


def proposals_for(everything: Everything, features: Features, call: Call) -> Proposals:
    """The proposals in an image. Raises Unwanted if the call is cancelled meanwhile, and what `propose` raises."""

    def on_points(asked: int, of: int) -> None:
        if call.cancelled():
            raise Unwanted

    return everything.propose(features, on_points)


def proposal_regions(
    everything: Everything, features: Features, proposals: Proposals, rows: np.ndarray, config: SegmenterConfig
) -> dict[int, Region]:
    """Regions of some proposals, int [n], by their rows, the largest first; empty masks are left out.

    Masks are refined if the segmenter refines. If refined masks are nearly equal, the better one is kept.
    """
    # A mask segmented from its box may not contain the point that led to it.
    points = slice(0, 0 if everything.options.from_boxes else 1)
    groundings = {
        int(row): Grounding(
            proposals.box_xyxy(row), proposals.points_xy[row : row + 1][points], score=float(proposals.scores[row])
        )
        for row in rows
    }
    drawn = everything.full_masks(features, proposals, rows)
    regions = {
        row: build_region(grounding, mask, config)
        for (row, grounding), mask in zip(groundings.items(), drawn, strict=True)
        if mask.mask.any()
    }
    if not regions:
        return {}
    known = list(regions)
    masks = np.stack([regions[row].mask for row in known])
    kept = suppressed(masks, proposals.scores[known], everything.options.max_overlap)
    by_area = kept[largest_first(masks[kept], len(kept))]
    return {known[index]: regions[known[index]] for index in by_area}
