import torch

from gkd_lightning.segment.points import sample_points
from gkd_lightning.segment.targets import class_masks, class_shares, semantic_targets


def test_one_mask_per_class_ignored_pixels_are_background() -> None:
    label = torch.tensor([[[0, 2, 255], [2, 2, 0]], [[255, 255, 255], [255, 255, 255]]], dtype=torch.uint8)
    targets = semantic_targets(label, num_classes=4)
    assert targets.present.tolist() == [[True, False, True, False], [False] * 4]
    masks = class_masks(label, torch.tensor([0, 0, 1]), torch.tensor([0, 2, 0]))
    assert masks[0].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert masks[1].tolist() == [[0, 1, 0], [1, 1, 0]]
    assert not masks[2].any()
    assert int(targets.highest) == 2


def test_highest_id_shows_a_wrong_label_map() -> None:
    label = torch.tensor([[[0, 255], [18, 3]]], dtype=torch.uint8)
    assert int(semantic_targets(label, num_classes=11).highest) == 18
    assert int(semantic_targets(torch.full((1, 2, 2), 255, dtype=torch.uint8), 11).highest) == 0


def test_shares_of_the_classes_are_their_masks_sampled() -> None:
    """At every kind of point: inside, on the border, and where a corner lies outside the map."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, 6, (3, 7, 11), generator=generator, dtype=torch.uint8)
    label[label == 5] = 255
    points = torch.rand(3, 200, 2, generator=generator) * 2 - 1
    points[:, :4] = torch.tensor([[-1.0, -1.0], [1.0, 1.0], [-1.0, 0.3], [0.0, 0.0]])
    masks = class_masks(label, torch.arange(3).repeat_interleave(4), torch.arange(4).repeat(3)).view(3, 4, 7, 11)
    expected = sample_points(masks, points).transpose(1, 2)
    torch.testing.assert_close(class_shares(label, points, 4), expected, atol=2e-6, rtol=0)
