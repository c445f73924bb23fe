from __future__ import annotations

import torch

from gkd_lightning.segment.gathered_sampling import gathered_samples
from gkd_lightning.segment.sampling import weighted_samples


def test_gathers_and_sums_are_the_samples() -> None:
    """In maps that are not square, inside, at the edges and far outside."""
    shapes = ((3, 5), (4, 2))
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(4, 6, 23, generator=generator)
    place = torch.randn(2, 4, 3, 23, 2, generator=generator) * 1.2
    place[0, 0, 0, :4] = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [40.0, -40.0]])
    weight = torch.rand(4, 2, 3, 23, generator=generator)
    expected = weighted_samples(value, place, weight, shapes)
    assert torch.allclose(gathered_samples(value, place, weight, shapes), expected, atol=1e-5)
