"""Sampling, resizing and cropping give the numbers of the official code."""

import numpy as np
import pytest
import torch

from gkd_lightning.data.augment.segment import default_short_edges, draw_crop, short_edge_size
from gkd_lightning.data.protocol import Protocol
from gkd_lightning.data.sampling import repeated_order
from tests.golden.harness import golden_json


@pytest.mark.parametrize("length", [600, 700])
def test_repeated_augmentation_gives_the_official_indices(length: int) -> None:
    fixture = golden_json("x_rasampler.json")
    world = 4
    for epoch in range(2):
        permutation = torch.randperm(length, generator=torch.Generator().manual_seed(epoch)).numpy()
        order = repeated_order(permutation, repeats=3)
        assert len(order) == world * fixture[f"len{length}.num_selected_per_rank"]
        for rank in range(world):
            assert order[rank::world].tolist() == fixture[f"len{length}.world4.epoch{epoch}.rank{rank}"]


def test_repeated_augmentation_of_a_small_set_is_not_empty_as_the_official_one_is() -> None:
    assert golden_json("x_rasampler.json")["len200.world4.num_selected_per_rank"] == 0
    assert len(repeated_order(np.arange(200), repeats=3)) == 200


def test_evaluation_sizes() -> None:
    fixture = golden_json("x_resize_shapes.json")["test_keep_ratio (input WxH, scale) -> new WxH"]
    assert fixture
    for case, expected in fixture.items():
        source, box = case.split(" @ ")
        width, height = (int(value) for value in source.split("x"))
        box_width, box_height = (int(value) for value in box.strip("()").split(","))
        assert list(Protocol("fit", (box_width, box_height)).image_size(width, height)) == expected, case


def test_training_sizes() -> None:
    fixture = golden_json("x_resize_shapes.json")
    assert list(default_short_edges(512)) == fixture["train_scales_512"]
    assert list(default_short_edges(540)) == fixture["train_scales_acdc_540"]
    cases = fixture["train ResizeShortestEdge(max_size=2048): input HxW -> [s -> [newW,newH]]"]
    assert len(cases) == 5
    for source, sizes in cases.items():
        height, width = (int(value) for value in source.split("x"))
        assert len(sizes) == 16
        for edge, expected in sizes.items():
            assert list(short_edge_size(height, width, int(edge), 2048)) == expected, (source, edge)


def test_crops() -> None:
    fixture = golden_json("x_random_crop.json")
    random = np.random.RandomState(7)
    label = np.zeros((700, 900), dtype=np.uint8)
    label[:, 450:] = random.randint(0, 19, (700, 450))
    label[:60] = 255
    boxes = fixture["bbox_y1_y2_x1_x2_for_np_seed"]
    assert len(boxes) == 20
    for seed, expected in enumerate(boxes):
        draw = np.random.RandomState(seed).randint
        box = draw_crop(label, fixture["crop"], fixture["cat_max_ratio"], lambda low, high, d=draw: int(d(low, high)))
        assert list(box) == expected, seed
