"""Truth as prediction gives 100, shuffled truth does not, and labels that cannot tell are named."""

from __future__ import annotations

import numpy as np
import pytest

from gkd_lightning.data.types import Image, Label, LabelSpace, SegmentationDataset
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import self_test
from tests.evaluate.builders import SPACE


class Labels:
    """A dataset of given labels."""

    def __init__(self, labels: list[Label]) -> None:
        self.labels = labels
        self.label_space: LabelSpace = SPACE

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> Image:
        raise AssertionError("the self-test needs no image")

    def name(self, index: int) -> str:
        return f"image_{index}"

    def label(self, index: int) -> Label:
        return self.labels[index]


def stripes(ignored: bool = True) -> Label:
    label = np.repeat(np.arange(3, dtype=np.uint8), 10)[None].repeat(20, 0)
    label[:3] = 255 if ignored else 0
    return label


def test_truth_is_100_and_shuffled_is_low() -> None:
    dataset = Labels([stripes(), stripes(False)])
    assert isinstance(dataset, SegmentationDataset)
    found = self_test(dataset)
    assert found.truth == 100.0
    assert found.shuffled < 40
    assert (found.images, found.problem) == (2, None)
    assert self_test(dataset, limit=1).images == 1


def test_labels_of_one_class_say_nothing() -> None:
    assert "only" in str(self_test(Labels([np.zeros((4, 4), np.uint8)])).problem)


def test_masks_of_0_and_255_are_told_their_cause() -> None:
    label = np.zeros((4, 4), np.uint8)
    label[0] = 255
    told = str(self_test(Labels([label])).problem)
    assert told.startswith("of all classes only ")
    assert "in 1 labels, and 25% of the pixels are ignored; if another id in the files, such as 255, is a class" in told


def test_a_sample_is_spread() -> None:
    seen: list[int] = []

    class Watched(Labels):
        def label(self, index: int) -> Label:
            seen.append(index)
            return super().label(index)

    assert self_test(Watched([stripes()] * 11), limit=3).images == 3
    assert sorted(set(seen)) == [0, 5, 10]


def test_labels_without_truth() -> None:
    assert "none of 1 labels" in str(self_test(Labels([np.full((4, 4), 255, np.uint8)])).problem)


def test_labels_that_change_between_reads() -> None:
    class Restless(Labels):
        def label(self, index: int) -> Label:
            self.labels[index] = np.roll(self.labels[index], 1, 1)
            return self.labels[index]

    assert "change between two reads" in str(self_test(Restless([stripes()])).problem)


def test_bad_ids_and_empty_datasets() -> None:
    with pytest.raises(UserError, match="image_0: label id 3"):
        self_test(Labels([np.full((2, 2), 3, np.uint8)]))
    with pytest.raises(UserError, match="no labelled image"):
        self_test(Labels([]))
