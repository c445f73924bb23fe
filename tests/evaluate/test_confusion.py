"""The confusion matrix against a naive loop, its rules for absent classes, its errors, its sum over ranks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import from_confusion
from gkd_lightning.evaluate.confusion import (
    ConfusionMatrix,
    accuracy,
    confusion_matrix,
    iou_per_class,
    mean_iou,
    mean_iou_present,
)


def naive(prediction: np.ndarray, label: np.ndarray, num_classes: int, ignore: int) -> np.ndarray:
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for predicted, truth in zip(prediction.ravel(), label.ravel(), strict=True):
        if truth != ignore:
            matrix[truth, predicted] += 1
    return matrix


@st.composite
def maps(draw: st.DrawFn) -> tuple[Tensor, Tensor, int, int]:
    num_classes = draw(st.integers(1, 12))
    ignore = draw(st.sampled_from([255, 254]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(3, 4), (1, 1), (2, 5, 3), (7,)]))
    used = draw(st.integers(1, num_classes))  # often some classes do not occur at all
    label = rng.integers(0, used, shape).astype(np.uint8)
    label[rng.random(shape) < draw(st.sampled_from([0.0, 0.3, 1.0]))] = ignore
    return torch.from_numpy(rng.integers(0, num_classes, shape)), torch.from_numpy(label), num_classes, ignore


@settings(max_examples=150, deadline=None)
@given(maps())
def test_equals_a_naive_loop(case: tuple[Tensor, Tensor, int, int]) -> None:
    prediction, label, num_classes, ignore = case
    expected = naive(prediction.numpy(), label.numpy(), num_classes, ignore)
    for label_type in (torch.uint8, torch.int64):
        for prediction_type in (torch.uint8, torch.int64):
            ids = prediction.to(prediction_type), label.to(label_type)
            matrix = confusion_matrix(*ids, num_classes, ignore)
            assert matrix.dtype == torch.int64
            np.testing.assert_array_equal(matrix.numpy(), expected)
    for index, iou in enumerate(iou_per_class(matrix).tolist()):
        union = expected[index].sum() + expected[:, index].sum() - expected[index, index]
        assert math.isnan(iou) if union == 0 else iou == pytest.approx(100 * expected[index, index] / union)


@settings(max_examples=30, deadline=None)
@given(maps(), st.integers(0, 1000))
def test_order_and_grouping_of_updates_do_not_matter(case: tuple[Tensor, Tensor, int, int], seed: int) -> None:
    prediction, label, num_classes, ignore = case
    order = torch.randperm(prediction.numel(), generator=torch.Generator().manual_seed(seed))
    whole, pieces = ConfusionMatrix(num_classes, ignore), ConfusionMatrix(num_classes, ignore)
    whole.update(prediction.flatten(), label.flatten())
    for chunk in order.split(3):
        pieces.update(prediction.flatten()[chunk], label.flatten()[chunk])
    assert torch.equal(whole.compute(), pieces.compute())


def test_absent_is_nan_predicted_but_absent_is_zero() -> None:
    matrix = torch.tensor([[8, 2, 0], [0, 0, 0], [0, 0, 0]])
    assert iou_per_class(matrix).nan_to_num(-1).tolist() == [80.0, 0.0, -1.0]
    assert mean_iou(matrix) == pytest.approx(40.0)
    assert mean_iou_present(matrix) == pytest.approx(80.0)
    assert accuracy(matrix) == pytest.approx(80.0)


def test_an_empty_matrix_scores_nan() -> None:
    empty = torch.zeros(3, 3, dtype=torch.int64)
    assert all(math.isnan(score(empty)) for score in (mean_iou, mean_iou_present, accuracy))


def test_counts_images_and_pixels_and_resets() -> None:
    metric = ConfusionMatrix(4)
    metric.update(torch.zeros(3, 5, 6, dtype=torch.int64), torch.full((3, 5, 6), 255, dtype=torch.uint8))
    metric.update(torch.ones(5, 6, dtype=torch.int64), torch.ones(5, 6, dtype=torch.uint8))
    assert metric.compute().tolist() == [[0] * 4, [0, 30, 0, 0], [0] * 4, [0] * 4]
    assert metric.num_images == 4
    metric.reset()
    metric.update(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.uint8))
    assert int(metric.compute().sum()) == 1
    assert metric.num_images == 1


def test_counts_beyond_float32_stay_exact() -> None:
    metric = ConfusionMatrix(2)
    metric.matrix += 2**24
    metric.update(torch.tensor([0]), torch.tensor([0], dtype=torch.uint8))
    assert int(metric.compute()[0, 0]) == 2**24 + 1


@pytest.mark.parametrize("bad", [3, 4, 254, -1])
def test_a_label_outside_the_classes_names_image_and_id(bad: int) -> None:
    label = torch.zeros(2, 2, 2, dtype=torch.int64)
    label[1, 0, 0] = bad
    with pytest.raises(UserError, match=rf"^street_07: label id {bad} is outside the 3 classes \(0 to 2"):
        ConfusionMatrix(3).update(torch.zeros_like(label), label, ["street_06", "street_07"])
    with pytest.raises(UserError, match=f"^label id {bad} "):
        ConfusionMatrix(3).update(torch.zeros_like(label), label)


def test_a_prediction_outside_the_classes_is_an_error() -> None:
    with pytest.raises(UserError, match="predicted id 3 is outside the 3 classes"):
        confusion_matrix(torch.tensor([3]), torch.tensor([0], dtype=torch.uint8), 3)


def test_different_shapes_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        confusion_matrix(torch.zeros(2, 2), torch.zeros(2, 3), 3)


def _rank(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    prediction, label = _images()
    metric = ConfusionMatrix(5)
    for index in range(rank, len(label), world):  # 5 images on 2 ranks: 3 and 2
        metric.update(prediction[index], label[index])
    torch.save((metric.compute(), metric.num_images), f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


def _images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    prediction = torch.randint(0, 5, (5, 6, 7), generator=generator)
    return prediction, torch.randint(0, 5, (5, 6, 7), generator=generator).to(torch.uint8)


def test_two_ranks_with_an_uneven_split_give_the_matrix_of_one(tmp_path: Path) -> None:
    mp.spawn(_rank, args=(2, str(tmp_path)), nprocs=2)
    single = ConfusionMatrix(5)
    single.update(*_images())
    for rank in range(2):
        matrix, images = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        assert torch.equal(matrix, single.compute())
        assert images == 5


def test_one_class_and_pixels_without_truth() -> None:
    """A (1, 1) matrix: torchmetrics hands it out without dimensions."""
    metric = ConfusionMatrix(1)
    metric.update(torch.zeros(2, 3, dtype=torch.long), torch.tensor([[0, 0, 255], [0, 255, 255]]))
    matrix = metric.compute()
    assert (mean_iou(matrix), mean_iou_present(matrix), accuracy(matrix)) == (100.0, 100.0, 100.0)
    score = from_confusion("night", matrix, ("all",), 1)
    assert score.miou == 100.0
    assert score.confusion == ((3,),)
