import torch

from gkd_lightning.segment.targets import semantic_targets


def test_one_mask_per_class_ignored_pixels_are_background() -> None:
    label = torch.tensor([[[0, 2, 255], [2, 2, 0]], [[255, 255, 255], [255, 255, 255]]], dtype=torch.uint8)
    targets = semantic_targets(label, num_classes=4)
    assert targets.present.tolist() == [[True, False, True, False], [False] * 4]
    assert targets.masks[0, 0].tolist() == [[1, 0, 0], [0, 0, 1]]
    assert targets.masks[0, 2].tolist() == [[0, 1, 0], [1, 1, 0]]
    assert not targets.masks[1].any()
    assert int(targets.highest) == 2


def test_highest_id_shows_a_wrong_label_map() -> None:
    label = torch.tensor([[[0, 255], [18, 3]]], dtype=torch.uint8)
    assert int(semantic_targets(label, num_classes=11).highest) == 18
    assert int(semantic_targets(torch.full((1, 2, 2), 255, dtype=torch.uint8), 11).highest) == 0
