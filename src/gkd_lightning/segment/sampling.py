"""The heart of deformable attention (Deformable DETR, arXiv 2010.04159): weighted sums of sampled values.

On a GPU two kernels do all of it (`fused_sampling.py`); this is the plain formula, forwards and backwards in a few
passes.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from gkd_lightning.segment.chunks import chunks
from gkd_lightning.segment.exporting import is_exporting
from gkd_lightning.segment.gathered_sampling import gathered_samples
from gkd_lightning.segment.levels import Levels, Shapes

HAS_TRITON = find_spec("triton") is not None


def deformable_samples(value: Tensor, looks: Tensor, levels: Levels) -> Tensor:
    """What each pixel gathers from a few places around its own, in all levels.

    Sampling is done in float32 whatever the dtype of the arguments: bfloat16 knows positions in a 64-wide map to a
    quarter of a pixel only.

    Args:
        value: (B, N, H, D), what the N pixels of all levels have to give, for each head.
        looks: (B, N, 3 * H * L * P), where each head of each pixel looks and how much it takes from there: first
            (H, L * P, 2) offsets (x, y) from the pixel's own place to the P places in each level, in that level's
            pixels, then (H, L * P) logits of the places' shares, which a softmax makes of them.
        levels: sizes of the L maps.

    Returns:
        (B, N, H * D), of the dtype of `value`; what lies outside a map is 0.
    """
    if value.device.type == "cuda" and HAS_TRITON and not is_exporting():
        from gkd_lightning.segment.fused_sampling import fused_samples

        fused: Tensor = fused_samples(value, looks, levels.centre, levels.table)
        return fused
    if value.device.type == "meta":  # costs are counted: those of the kernels, which keep their arguments alone
        counted: Tensor = _WithoutValues.apply(value, looks)
        return counted
    return plain_samples(value, looks, levels)


def plain_samples(value: Tensor, looks: Tensor, levels: Levels) -> Tensor:
    """`deformable_samples` in torch's own operations, on any device."""
    batch, count, heads, dim = value.shape
    number, rows = len(levels.shapes), batch * heads
    places = looks.shape[2] // (3 * heads)
    points = places // number
    offset, logits = looks.float().split([2 * heads * places, heads * places], dim=2)
    # The axis of the queries goes last: softmax, sampling and summing then run along memory.
    values = value.float().permute(0, 2, 3, 1).reshape(rows, dim, count)
    weight = logits.transpose(1, 2).reshape(rows, places, count).softmax(1).view(rows, number, points, count)
    offset = offset.unflatten(2, (heads, number, points, 2))
    place = torch.addcmul(levels.centre.view(1, count, 1, 1, 1, 2), offset, levels.pixel[:, None])
    place = place.permute(3, 0, 2, 4, 1, 5).reshape(number, rows, points, count, 2)
    summing = gathered_samples if is_exporting() else weighted_samples
    summed = summing(values, place, weight, levels.shapes)
    attended: Tensor = summed.reshape(batch, heads * dim, count).transpose(1, 2).to(value.dtype)
    return attended.contiguous()


def weighted_samples(value: Tensor, place: Tensor, weight: Tensor, shapes: Shapes) -> Tensor:
    """Sum over levels and points of weight times the bilinear sample of that level's map.

    Args:
        value: (R, D, N) pixels of all levels, one level after the other; R = batch times heads.
        place: (levels, R, points, N, 2) where the N queries look, (x, y) in [-1, 1].
        weight: (R, levels, points, N).
        shapes: (height, width) of each level.

    Returns:
        (R, D, N).
    """
    summed: Tensor = _WeightedSamples.apply(value, place, weight, shapes)
    return summed


class _WeightedSamples(torch.autograd.Function):
    """Left to autograd, every product and every gradient of one would be written to memory and read again."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, place: Tensor, weight: Tensor, shapes: Shapes) -> Tensor:
        summed = torch.empty(*value.shape[:2], place.shape[3], device=value.device, dtype=value.dtype)
        kept: list[Tensor] = []
        for rows in _rows(value, place):
            total = summed[rows].zero_()
            for level, maps in enumerate(_maps(value[rows], shapes)):
                sampled = F.grid_sample(maps, place[level, rows], align_corners=False)  # (rows, D, points, N)
                total += (sampled * weight[rows, None, level]).sum(2)
                if any(ctx.needs_input_grad):
                    kept.append(sampled)
        ctx.save_for_backward(value, place, weight, *kept)
        ctx.shapes = shapes
        return summed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        value, place, weight, *kept = ctx.saved_tensors
        by_value, by_place, by_weight = (torch.empty_like(each) for each in (value, place, weight))
        sizes = [height * width for height, width in ctx.shapes]
        found = iter(kept)
        for rows in _rows(value, place):
            own = gradient[rows, :, None]
            parts = by_value[rows].split(sizes, dim=2)
            for level, maps in enumerate(_maps(value[rows], ctx.shapes)):
                by_weight[rows, level] = (next(found) * own).sum(1)
                by_maps, by_place[level, rows] = torch.ops.aten.grid_sampler_2d_backward(
                    own * weight[rows, None, level], maps, place[level, rows], 0, 0, False, [True, True]
                )
                parts[level].copy_(by_maps.flatten(2))
        return by_value, by_place, by_weight, None


class _WithoutValues(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, looks: Tensor) -> Tensor:
        ctx.save_for_backward(value, looks)
        return value.new_empty(*value.shape[:2], value.shape[2] * value.shape[3])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        value, looks = ctx.saved_tensors
        return torch.empty_like(value), torch.empty_like(looks)


def _maps(value: Tensor, shapes: Shapes) -> list[Tensor]:
    parts = value.split([height * width for height, width in shapes], dim=2)
    return [part.unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True)]


def _rows(value: Tensor, place: Tensor) -> list[slice]:
    rows, dim = value.shape[:2]
    return chunks(rows, dim * place.shape[2] * place.shape[3], value.device)
