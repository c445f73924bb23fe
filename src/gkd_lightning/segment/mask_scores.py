"""From the masks and classes of queries to class scores of every pixel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gkd_lightning.precision import full_precision
from gkd_lightning.segment.chunks import chunks

CACHED_MASK_VALUES = 2**22
"""Full-size mask values (queries x pixels) that a CPU enlarges, squashes and sums at once, 16 MiB: small enough for
memory that is used again."""


def semantic_scores(classes: Tensor, masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Sum over queries of class probability (without `no object`) times mask probability.

    Args:
        classes: (B, Q, K + 1) logits.
        masks: (B, Q, h, w) logits; they are enlarged before the sigmoid.
        size: (height, width) of the scores.

    Returns:
        ``(B, K, *size)`` float32. Source: mmseg 1.2.2 ``mask2former_head.py``, lines 153-163.
    """
    pixels = size[0] * size[1]
    with full_precision(masks.device.type):
        named = classes.float().softmax(-1)[..., :-1].transpose(1, 2)
        parts = chunks(masks.shape[0], masks.shape[1] * pixels, masks.device, CACHED_MASK_VALUES)
        return torch.cat([_summed(named[images], masks[images].float(), size) for images in parts])


def _summed(named: Tensor, masks: Tensor, size: tuple[int, int]) -> Tensor:
    total: Tensor | None = None
    values = masks.shape[0] * size[0] * size[1]
    for queries in chunks(masks.shape[1], values, masks.device, CACHED_MASK_VALUES):
        enlarged = F.interpolate(masks[:, queries], size=size, mode="bilinear", align_corners=False)
        probability, weight = enlarged.sigmoid_().flatten(2), named[:, :, queries]
        total = weight @ probability if total is None else torch.baddbmm(total, weight, probability)
    assert total is not None
    scores: Tensor = total.unflatten(2, size)
    return scores
