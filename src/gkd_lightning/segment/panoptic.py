"""From the classes and masks of queries to segments: things one by one, stuff a class at a time; and to instances.

The rules are those of Mask2Former (arXiv 2112.01527; ``panoptic_inference`` and ``instance_inference`` of the authors'
``maskformer_model.py``, ``maskformer_fusion_head.py`` of mmdet 3.3.0).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor
from torch.nn import functional as F

from gkd_lightning.data import INSTANCE, LabelSpace
from gkd_lightning.evaluate import InstanceMasks
from gkd_lightning.precision import full_precision
from gkd_lightning.segment.chunks import chunks
from gkd_lightning.segment.head import Mask2FormerHead
from gkd_lightning.segment.mask2former import HeadOutput
from gkd_lightning.segment.segmenter import Segmenter

MOST_INSTANCES = 100
"""Of an image: COCO's mask AP looks at no more."""


class PanopticMap(NamedTuple):
    """Segments of one image."""

    codes: Tensor
    """(H, W) int32, `class + 256 * k` as in `data.segments`, k from 1 on for things; 255 where there is no segment."""
    scores: dict[int, float]
    """Class probability of every segment by its code; of stuff that several queries found the highest."""


def finds_segments(segmenter: Any) -> TypeGuard[Segmenter]:
    """Whether its queries were trained to answer for single things; an export has no queries."""
    return isinstance(segmenter, Segmenter) and isinstance(segmenter.head, Mask2FormerHead) and segmenter.head.panoptic


@torch.no_grad()
def queries_of(segmenter: Segmenter, images: Tensor) -> HeadOutput:
    """What the queries say of (B, 3, H, W) images, each seen whole, in one pass.

    A query of one window is no query of the next, so masks cannot be averaged over windows as class scores are.
    """
    output: HeadOutput = segmenter.output(images)
    return output


def segments_found(
    segmenter: Segmenter, output: HeadOutput, size: tuple[int, int], space: LabelSpace
) -> list[PanopticMap]:
    """Segments of every image of `output`, at `size` (height, width), by the thresholds of the head."""
    assert isinstance(segmenter.head, Mask2FormerHead)
    config = segmenter.head.config
    return panoptic_maps(
        output.classes[-1], output.masks(-1), size, space.thing_ids, config.score_threshold, config.overlap_threshold
    )


class FoundSegments(NamedTuple):
    """What is judged of a batch, at the size of its labels."""

    codes: Tensor
    """(B, H, W) int32."""
    instances: list[InstanceMasks]
    """Of each image; empty if they are not wanted."""


def judged_segments(
    segmenter: Segmenter, batch: Mapping[str, Any], space: LabelSpace, instances: bool = False
) -> FoundSegments:
    """Segments, and `instances` if they are wanted, of an evaluation batch."""
    size = (batch["label"].shape[-2], batch["label"].shape[-1])
    output = queries_of(segmenter, batch["image"])
    codes = torch.stack([each.codes for each in segments_found(segmenter, output, size, space)])
    if not instances:
        return FoundSegments(codes, [])
    return FoundSegments(codes, instance_masks(output.classes[-1], output.masks(-1), size, space.thing_ids))


def panoptic_maps(
    classes: Tensor,
    masks: Tensor,
    size: tuple[int, int],
    things: Collection[int],
    score_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
    ignore: int = 255,
) -> list[PanopticMap]:
    """Every pixel goes to the query whose class probability times mask probability is highest there.

    Queries that call themselves ``no object``, or whose class probability is not above `score_threshold`, take no part.
    Of what a query has won, the pixels count whose mask probability is at least a half; it is no segment if it has won
    less than `overlap_threshold` of all that its own mask covers.

    Args:
        classes: (B, Q, K + 1) logits.
        masks: (B, Q, h, w) logits; they are enlarged before the sigmoid.
        size: (height, width) of the maps.
        things: ids of the classes whose queries stay apart; others of one class are merged.
        score_threshold: 0.8 in the authors' panoptic configurations (``OBJECT_MASK_THRESHOLD``).
        overlap_threshold: 0.8 there too (``OVERLAP_THRESHOLD``).
        ignore: the code of pixels without a segment.
    """
    with full_precision(masks.device.type):
        scores, named = classes.float().softmax(-1).max(-1)
        kept = (named < classes.shape[-1] - 1) & (scores > score_threshold)
        return [
            _panoptic_map(scores[i][own], named[i][own], masks[i][own].float(), size, things, overlap_threshold, ignore)
            for i, own in enumerate(kept)
        ]


def _panoptic_map(
    scores: Tensor,
    classes: Tensor,
    masks: Tensor,
    size: tuple[int, int],
    things: Collection[int],
    overlap_threshold: float,
    ignore: int,
) -> PanopticMap:
    codes = torch.full(size, ignore, dtype=torch.int32, device=masks.device)
    found: dict[int, float] = {}
    if not len(scores):
        return PanopticMap(codes, found)
    probability = _enlarged(masks, size).sigmoid_()
    winner = (probability * scores[:, None, None]).argmax(0)
    covered = probability >= 0.5
    won = winner == torch.arange(len(scores), device=masks.device)[:, None, None]
    areas = torch.stack([won.sum((1, 2)), covered.sum((1, 2)), (won & covered).sum((1, 2))], 1).tolist()
    number = 0
    for index, (kind, score, (mine, own, both)) in enumerate(
        zip(classes.tolist(), scores.tolist(), areas, strict=True)
    ):
        if not both or mine < overlap_threshold * own:
            continue
        thing = kind in things
        number += thing
        code = kind + INSTANCE * number * thing
        codes[won[index] & covered[index]] = code
        found[code] = max(score, found.get(code, 0.0))
    return PanopticMap(codes, found)


def instance_masks(
    classes: Tensor, masks: Tensor, size: tuple[int, int], things: Sequence[int], most: int = MOST_INSTANCES
) -> list[InstanceMasks]:
    """Single things with scores, for mask AP: the `most` surest pairs of query and class, without any threshold.

    A score is the class probability times the mean probability of the mask's pixels.

    Args:
        classes: (B, Q, K + 1) logits.
        masks: (B, Q, h, w) logits; a pixel belongs to a mask where they are above 0 once they are enlarged.
        size: (height, width) of the masks.
        things: ids of the classes that are looked for.
        most: how many an image may have.
    """
    found = []
    with full_precision(masks.device.type):
        named = classes.float().softmax(-1)[..., :-1]
        of_things = torch.tensor(sorted(things), dtype=torch.int64, device=masks.device)
        for image, own in zip(named, masks, strict=True):
            best, place = image.flatten().topk(min(most, image.numel()))
            kinds = place % image.shape[1]
            thing = torch.isin(kinds, of_things)
            queries = place[thing] // image.shape[1]
            inside = torch.zeros(len(queries), *size, dtype=torch.bool, device=masks.device)
            sure = torch.zeros(len(queries), device=masks.device)
            for part in chunks(len(queries), size[0] * size[1], masks.device):
                logits = _enlarged(own[queries[part]].float(), size)
                inside[part] = logits > 0
                sure[part] = (logits.sigmoid() * inside[part]).sum((1, 2)) / inside[part].sum((1, 2)).clamp(min=1)
            scores = best[thing] * sure
            order = scores.argsort(descending=True, stable=True)
            order = order[inside[order].flatten(1).any(1)]
            found.append(InstanceMasks(inside[order], kinds[thing][order], scores[order]))
    return found


def _enlarged(masks: Tensor, size: tuple[int, int]) -> Tensor:
    if not len(masks):
        return masks.new_zeros((0, *size))
    return F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]
