"""The heart of deformable attention: weighted sums of sampled values, forwards and backwards in a few passes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Shapes = tuple[tuple[int, int], ...]
CACHED_VALUES = 2**20
"""Sampled values that a CPU handles at once, 4 MB: they are multiplied and summed while they are in its cache."""


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
        for rows in _chunks(value, place):
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
        for rows in _chunks(value, place):
            own = gradient[rows, :, None]
            parts = by_value[rows].split(sizes, dim=2)
            for level, maps in enumerate(_maps(value[rows], ctx.shapes)):
                by_weight[rows, level] = (next(found) * own).sum(1)
                by_maps, by_place[level, rows] = torch.ops.aten.grid_sampler_2d_backward(
                    own * weight[rows, None, level], maps, place[level, rows], 0, 0, False, [True, True]
                )
                parts[level].copy_(by_maps.flatten(2))
        return by_value, by_place, by_weight, None


def _maps(value: Tensor, shapes: Shapes) -> list[Tensor]:
    parts = value.split([height * width for height, width in shapes], dim=2)
    return [part.unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True)]


def _chunks(value: Tensor, place: Tensor) -> list[slice]:
    rows, dim = value.shape[:2]
    if value.device.type != "cpu":
        return [slice(0, rows)]
    step = max(1, CACHED_VALUES // (dim * place.shape[2] * place.shape[3]))
    return [slice(first, first + step) for first in range(0, rows, step)]
