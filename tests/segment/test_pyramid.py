import pytest
import torch
from torch.nn import functional as F

from gkd_lightning.segment.pyramid import Level, default_blocks, feature_pyramid


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [(12, [3, 5, 7, 11]), (24, [7, 11, 15, 23]), (4, [0, 1, 2, 3]), (5, [1, 1, 2, 4]), (1, [0, 0, 0, 0])],
)
def test_default_blocks(depth: int, blocks: list[int]) -> None:
    assert default_blocks(depth) == blocks


def test_first_block_is_finest_and_last_is_coarsest() -> None:
    maps = [torch.randn(2, 3, 4, 6) for _ in range(4)]
    pyramid = feature_pyramid(maps)
    assert [level.size for level in pyramid] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert [tuple(level.enlarged().shape[-2:]) for level in pyramid] == [level.size for level in pyramid]
    assert pyramid[2].enlarged() is maps[2]
    torch.testing.assert_close(pyramid[3].enlarged(), F.avg_pool2d(maps[3], 2))  # what bilinear halving amounts to


def test_other_scales() -> None:
    maps = [torch.randn(1, 3, 8, 12) for _ in range(4)]
    pyramid = feature_pyramid(maps, (2, 1, 0.5, 0.25))
    assert [tuple(level.enlarged().shape[-2:]) for level in pyramid] == [(16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.mark.parametrize("scale", [4, 2, 1, 0.5])
def test_projecting_first_is_exact(scale: float) -> None:
    """And the product is made on the smaller of the two maps."""
    torch.manual_seed(0)
    projection = torch.nn.Conv2d(12, 5, 1)
    seen = []
    projection.register_forward_hook(lambda module, inputs, output: seen.append(tuple(inputs[0].shape[-2:])))
    level = Level(torch.randn(2, 12, 6, 9), scale)
    found = level.projected(projection)
    torch.testing.assert_close(found, projection(level.enlarged()), atol=1e-6, rtol=1e-5)
    assert seen[0] == min((6, 9), level.size)


def test_four_maps_are_needed() -> None:
    with pytest.raises(ValueError, match="zip"):
        feature_pyramid([torch.randn(1, 3, 4, 4)] * 3)
