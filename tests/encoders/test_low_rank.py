"""SoMA's start: the smallest singular components of a weight, whatever its shape and rank."""

from __future__ import annotations

import pytest
import torch

from gkd_lightning.encoders.low_rank import LowRankUpdate

RANK = 4


@pytest.mark.parametrize("shape", [(40, 96), (96, 40), (64, 64)])
@pytest.mark.parametrize("rank", [40, 5, 0])
def test_smallest_components(shape: tuple[int, int], rank: int) -> None:
    generator = torch.Generator().manual_seed(rank)
    outputs, inputs = shape
    weight = torch.randn(outputs, rank, generator=generator) @ torch.randn(rank, inputs, generator=generator)
    update, left_over = LowRankUpdate(inputs, outputs, RANK, 0.5), weight.clone()
    update.take_minor(left_over)
    left, values, right = torch.linalg.svd(weight.double(), full_matrices=False)
    wanted = (left[:, -RANK:] * values[-RANK:]) @ right[-RANK:]
    torch.testing.assert_close(update.weight().double(), wanted, atol=2e-6, rtol=1e-4)
    torch.testing.assert_close(left_over + update.weight(), weight, atol=2e-6, rtol=1e-5)
    assert torch.isfinite(update.a).all()
    assert torch.isfinite(update.b).all()
    if rank >= 40 and min(shape) == 40:  # both factors have the root of each value
        torch.testing.assert_close(update.a.norm(dim=1), update.b.norm(dim=0))
