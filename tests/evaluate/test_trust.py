"""Calibration and failure detection from counted levels: as torchmetrics computes them, and as they are defined."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_average_precision, binary_calibration_error

from gkd_lightning.evaluate.confidence_levels import BINS, LEVELS, UNITS, bin_sums, level_counts
from gkd_lightning.evaluate.trust import Trust, calibration_error, trust_of

TIED = pytest.mark.parametrize("levels", [12, 400, LEVELS], ids=["many ties", "some ties", "hardly a tie"])


def sample(levels: int, pixels: int = 3000, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Confidence at the middles of some of the levels, and whether each pixel is right: the surer the oftener."""
    rng = np.random.default_rng(seed)
    chosen = rng.choice(LEVELS, levels, replace=False)
    sure = (2 * np.sort(rng.choice(chosen, pixels)) + 1) / UNITS
    return torch.from_numpy(sure), torch.from_numpy(rng.random(pixels) < sure**0.5)


def judged(sure: Tensor, right: Tensor, brier: int = 0) -> Trust:
    found = trust_of(level_counts(sure, right, torch.ones_like(right)), brier)
    assert found is not None
    return found


@TIED
def test_as_torchmetrics_computes_it_from_all_pixels(levels: int) -> None:
    sure, right = sample(levels)
    found = judged(sure, right)
    assert found.ece / 100 == pytest.approx(
        float(binary_calibration_error(sure, right.long(), n_bins=BINS, norm="l1", validate_args=False)), abs=1e-6
    )
    assert found.auroc is not None
    assert found.aupr is not None
    assert found.auroc / 100 == pytest.approx(float(binary_auroc(sure, right.long())), abs=1e-6)
    assert found.aupr / 100 == pytest.approx(float(binary_average_precision(1 - sure, (~right).long())), abs=1e-6)


@TIED
def test_as_defined(levels: int) -> None:
    sure, right = (part.numpy() for part in sample(levels))
    found = judged(torch.from_numpy(sure), torch.from_numpy(right))
    assert found.confidence == pytest.approx(100 * sure.mean(), abs=1e-9)
    assert found.aurc == pytest.approx(100 * mean_risk_of_orders(sure, right).mean(), abs=1e-9)
    thresholds = np.unique(sure)
    caught = np.array([((sure <= t) & ~right).sum() / (~right).sum() for t in thresholds])
    flagged = np.array([((sure <= t) & right).sum() / right.sum() for t in thresholds])
    assert found.fpr95 == pytest.approx(100 * flagged[caught >= 0.95][0], abs=1e-9)
    spread = evenly_spread(sure, right)
    parts = [slice(start, stop) for start, stop in pairwise(range(0, len(sure) + 1, len(sure) // BINS))]
    expected = sum(abs(np.sort(sure)[part].sum() - spread[part].sum()) for part in parts) / len(sure)
    assert found.ece_adaptive == pytest.approx(100 * expected, abs=1e-9)
    risk = 100 * (1 - spread[::-1]).cumsum() / np.arange(1, len(sure) + 1)
    assert found.risk == pytest.approx(risk[len(sure) // 100 - 1 :: len(sure) // 100].tolist(), abs=1e-9)


def evenly_spread(sure: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The least sure first: of pixels that are tied, the share that is right."""
    return np.concatenate([np.full((sure == level).sum(), right[sure == level].mean()) for level in np.unique(sure)])


def mean_risk_of_orders(sure: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of errors among the k surest, mean over all orders of ties: by hand, pixel after pixel."""
    errors = 1 - evenly_spread(sure, right)[::-1]
    return np.array([errors[: k + 1].sum() / (k + 1) for k in range(len(errors))])


def test_aurc_of_ties_is_the_mean_over_their_orders() -> None:
    sure, right = sample(6, pixels=40, seed=2)
    rng, areas = np.random.default_rng(0), []
    for _ in range(4000):
        order = np.lexsort((rng.random(len(sure)), -sure.numpy()))
        areas.append(100 * ((~right).numpy()[order].cumsum() / np.arange(1, 41)).mean())
    assert judged(sure, right).aurc == pytest.approx(np.mean(areas), abs=5 * np.std(areas) / math.sqrt(4000))


def test_by_hand() -> None:
    """Four pixels; the two surest are right, the third is an error, the last is right."""
    middle = (2 * torch.tensor([15000, 12000, 7000, 2000], dtype=torch.float64) + 1) / UNITS
    found = judged(middle, torch.tensor([True, True, False, True]))
    assert found.auroc == pytest.approx(100 * 2 / 3)
    assert found.aupr == pytest.approx(50)
    assert found.fpr95 == pytest.approx(100 / 3)
    assert found.aurc == pytest.approx(100 * (0 + 0 + 1 / 3 + 1 / 4) / 4)
    assert found.ece == pytest.approx(100 * float((middle - torch.tensor([1, 1, 0, 1])).abs().mean()))
    assert (found.risk[49], found.risk[74], found.risk[99]) == pytest.approx((0, 100 / 3, 25))


def test_confidence_that_is_no_middle_moves_nothing_by_more_than_is_said() -> None:
    rng = np.random.default_rng(1)
    sure = torch.from_numpy(rng.beta(8, 1, 200_000))  # most of it close to 1
    right = torch.from_numpy(rng.random(200_000)) < sure**0.7
    found, levels = judged(sure, right), level_counts(sure, right, torch.ones_like(right))
    exact = float(binary_calibration_error(sure, right.long(), n_bins=BINS, validate_args=False))
    assert abs(found.ece / 100 - exact) < 1 / UNITS + 1e-7
    wrong, true = levels.double()
    bound = float((wrong * true).sum() / wrong.sum() / true.sum() / 2)  # all ties the other way round
    assert found.auroc is not None
    assert abs(found.auroc / 100 - float(binary_auroc(sure, right.long()))) < bound + 1e-6
    assert bound < 2e-4


@pytest.mark.parametrize(("sure", "level"), [(0.0, 0), (1 / LEVELS, 0), (1.5 / LEVELS, 1), (1.0, LEVELS - 1)])
def test_the_ends_have_a_level(sure: float, level: int) -> None:
    counts = level_counts(torch.tensor([sure]), torch.tensor([True]), torch.tensor([True]))
    assert counts.nonzero().tolist() == [[1, level]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_bin_ends_where_it_is_said_to(dtype: torch.dtype) -> None:
    """Of (0, 1] in fifteenths, the upper end belongs to the bin, as it does to torchmetrics'."""
    sure = torch.linspace(0.001, 1, 4001).to(dtype)
    edges = torch.arange(1, BINS + 1, dtype=torch.float64) / BINS
    inside = (sure.double()[:, None] - edges).abs().amin(1) > 1e-6
    expected = torch.bucketize(sure[inside].double(), edges)
    sums = bin_sums(level_counts(sure[inside], torch.ones_like(inside)[inside], inside[inside]))
    assert sums[:, 0].tolist() == torch.bincount(expected, minlength=BINS).tolist()


def test_without_a_pixel_or_an_error() -> None:
    assert trust_of(torch.zeros(2, LEVELS, dtype=torch.int64), 0) is None
    perfect = judged(torch.tensor([0.5, 0.9]), torch.tensor([True, True]))
    assert (perfect.auroc, perfect.aupr, perfect.fpr95, perfect.aurc) == (None, None, None, 0)
    hopeless = judged(torch.tensor([0.5, 0.9]), torch.tensor([False, False]))
    assert (hopeless.auroc, hopeless.aupr, hopeless.fpr95, hopeless.aurc) == (None, 100, None, pytest.approx(100))
    assert np.isnan(calibration_error(np.zeros((2, BINS, 3)))).all()


def test_a_whole_data_set_stays_exact() -> None:
    """Ten milliard pixels: of ties of a milliard each, AURC is still that of the rates."""
    levels = torch.zeros(2, LEVELS, dtype=torch.int64)
    levels[0, :: LEVELS // 10], levels[1, :: LEVELS // 10] = 10**8, 9 * 10**8
    found = trust_of(levels, 0)
    assert found is not None
    assert found.aurc == pytest.approx(10, abs=1e-7)
    assert found.auroc == pytest.approx(50, abs=1e-9)


def test_round_trip() -> None:
    found = judged(*sample(400), brier=12345)
    assert Trust.from_dict(found.asdict()) == found
    with pytest.raises(ValueError, match="units of 1 / 30, this version"):
        Trust.from_dict({**found.asdict(), "units": 30})
