"""Deformable sampling both ways on the same random arguments; as a program it prints the differences of every case."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from gkd_lightning.segment.levels import Shapes, levels_of
from gkd_lightning.segment.sampling import plain_samples

CASES: dict[str, tuple[Shapes, int, int, int, int, float]] = {
    "official levels, places and channels": (((1, 2), (2, 3), (3, 5)), 1, 2, 32, 4, 2.0),
    "widths that are no power of two": (((2, 3), (3, 4)), 1, 3, 12, 3, 2.0),
    "one place of one level": (((5, 4),), 3, 1, 8, 1, 2.0),
    "places far outside": (((2, 2), (3, 4)), 1, 1, 16, 2, 1e6),
    "a single pixel": (((1, 1), (2, 2)), 1, 2, 8, 2, 1.0),
}
"""Sizes of the levels, batch, heads, channels of a head, places in a level, spread of the offsets in pixels."""


def arguments(case: str, device: torch.device, dtype: torch.dtype) -> tuple[list[Tensor], Tensor]:
    """Values and looks, and a gradient of the output."""
    shapes, batch, heads, dim, points, spread = CASES[case]
    generator = torch.Generator().manual_seed(0)
    count = sum(height * width for height, width in shapes)

    def draw(*size: int) -> Tensor:
        return torch.randn(size, generator=generator).to(device, dtype)

    places = heads * len(shapes) * points
    offset = draw(batch, count, 2 * places) * spread
    looks = torch.cat([_off_centres(offset, shapes, heads), draw(batch, count, places)], dim=2)
    return [draw(batch, count, heads, dim), looks], draw(batch, count, heads * dim)


def _off_centres(offset: Tensor, shapes: Shapes, heads: int) -> Tensor:
    """Offsets none of which ends in a pixel's centre, where the slope to the left and that to the right are both right.

    Bfloat16 has so few numbers that many would.
    """
    levels = levels_of(shapes, 8, offset.device, torch.float32)
    own = offset.double().unflatten(2, (heads, len(shapes), -1, 2))
    sizes = torch.tensor([[width, height] for height, width in shapes], device=offset.device)[:, None]
    column = ((levels.centre.double()[:, None, None, None] + 1) * sizes - 1) / 2 + own
    return (own + ((column - column.round()).abs() < 0.01) / 16).flatten(2).to(offset.dtype)


def compared(case: str, device: torch.device, dtype: torch.dtype) -> list[float]:
    """Largest difference of the output and of both gradients, each relative to its largest value."""
    from gkd_lightning.segment.fused_sampling import fused_samples

    own, gradient = arguments(case, device, dtype)
    levels = levels_of(CASES[case][0], 8, device, torch.float32)
    results = []
    for fused in (False, True):
        given = [each.clone().requires_grad_() for each in own]
        output = fused_samples(*given, levels.centre, levels.table) if fused else plain_samples(*given, levels)
        output.backward(gradient)
        results.append([output.detach(), *(each.grad for each in given)])
    differences = []
    for plain, found in zip(*results, strict=True):
        largest = plain.float().abs().max().clamp(min=1e-12)
        differences.append(float((found.float() - plain.float()).abs().max() / largest))
    return differences


if __name__ == "__main__":
    found = {
        f"{case}, {dtype}": compared(case, torch.device("cpu"), dtype)
        for dtype in (torch.float32, torch.bfloat16)
        for case in CASES
    }
    print(json.dumps(found))
