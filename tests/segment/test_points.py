import pytest
import torch

from gkd_lightning.segment.points import KeyedPoints, sample_points, uncertain_points

CPU = torch.device("cpu")


def test_values_sit_at_pixel_centres_and_fade_to_zero_outside() -> None:
    maps = torch.tensor([[[[1.0, 3.0]]]])
    points = torch.tensor([[[-0.5, 0.0], [0.5, 0.0], [0.0, 0.0], [-1.0, 0.0]]])
    torch.testing.assert_close(sample_points(maps, points), torch.tensor([[[1.0, 3.0, 2.0, 0.5]]]))


def test_points_depend_on_the_images_own_key_only() -> None:
    """Whatever batch or rank an image is in, its points are the same."""
    together, alone = KeyedPoints([11, 22, 33]), KeyedPoints([22])
    assert together.per_image(2, 5, CPU)[1].equal(alone.per_image(2, 5, CPU)[0])
    masks = together.per_mask([3, 2, 4], 2, 6, CPU)
    assert masks.shape == (9, 2, 6, 2)
    assert masks[3:5].equal(alone.per_mask([2], 2, 6, CPU))
    assert not masks[3:5].equal(alone.per_mask([2], 2, 6, CPU))  # every call goes on
    assert -1 <= float(masks.min()) < 0 < float(masks.max()) < 1


def test_points_are_not_the_augmentations_random_numbers() -> None:
    torch.manual_seed(5)
    augmentation = torch.rand(2, 5, 2) * 2 - 1
    assert not KeyedPoints([5]).per_image(2, 5, CPU)[0].equal(augmentation)


def test_most_points_are_uncertain() -> None:
    column = torch.linspace(-1, 1, 16).expand(16, 16)
    masks = column.expand(3, 2, 16, 16)
    points = uncertain_points(masks, [1, 2], KeyedPoints([1, 2]), points=40, oversample=3, importance=0.75)
    assert points.shape == (3, 2, 40, 2)
    distance = points[..., 0].abs()
    assert float(distance[..., :30].max()) < 0.4  # a quarter of 120 uniform points lies within 0.25
    assert float(distance[..., 30:].max()) > 0.6


def test_no_masks_no_points() -> None:
    points = uncertain_points(torch.zeros(0, 2, 4, 4), [0, 0], KeyedPoints([1, 2]), 8, 3, 0.75)
    assert points.shape == (0, 2, 8, 2)


@pytest.mark.parametrize("importance", [0.0, 0.5, 1.0])
def test_any_share_of_uncertain_points(importance: float) -> None:
    masks = torch.randn(2, 1, 8, 8)
    points = uncertain_points(masks, [2], KeyedPoints([1]), points=10, oversample=1, importance=importance)
    assert points.shape == (2, 1, 10, 2)
