"""Classes taken for each other, and the scores of single images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gkd_lightning.evaluate import ImageCounts, Mistake, image_scores, mistakes, worst_images

CLASSES = ("sky", "road", "car")


def test_the_most_frequent_mistakes_come_first() -> None:
    matrix = torch.tensor([[50, 30, 20], [0, 90, 10], [40, 0, 60]])
    assert mistakes(matrix, CLASSES, 3) == [
        Mistake("car", "sky", 40.0, 40.0),
        Mistake("sky", "road", 30.0, 30.0),
        Mistake("sky", "car", 20.0, 20.0),
    ]
    assert matrix.diagonal().tolist() == [50, 90, 60]  # as it was
    assert len(mistakes(matrix, CLASSES, 9)) == 4  # no pair without a pixel
    assert mistakes(torch.eye(3, dtype=torch.int64), CLASSES, 3) == []
    assert mistakes(torch.zeros(3, 3, dtype=torch.int64), CLASSES, 3) == []


def test_an_image_is_scored_over_the_classes_that_it_shows_or_was_said_to_show() -> None:
    #                        right       predicted    true
    counts = np.array([[[4, 0, 0], [4, 2, 0], [6, 0, 0]],  # sky 4/6, road said but not there: 0
                       [[0, 0, 0], [0, 0, 0], [0, 0, 0]],  # no pixel with a truth
                       [[9, 1, 0], [9, 1, 0], [9, 1, 0]]])  # fmt: skip
    found = ImageCounts(("a", "b", "c"), counts.astype(np.uint32))
    np.testing.assert_allclose(image_scores(found), [100 * (4 / 6) / 2, np.nan, 100.0])
    assert worst_images(found, 1) == {"a": pytest.approx(100 / 3)}
    assert list(worst_images(found, 5)) == ["a", "c"]  # nothing can be said of b
