"""The paired bootstrap against a hand-computed example, the table's own scores, a loop, and statistics."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gkd_lightning.evaluate import PerImage, mean_iou, table
from gkd_lightning.evaluate.bootstrap import Interval, bootstrap, drawn, weighted_miou
from gkd_lightning.evaluate.image_counter import margins_of
from gkd_lightning.evaluate.method_differences import comparison_table
from gkd_lightning.evaluate.pairing import Paired, pair
from tests.evaluate.judged import DOMAINS, IMAGES, judged

# two images, two classes and a third that occurs nowhere: intersection, predicted, true
TINY = np.array([[[3, 1, 0], [3, 3, 0], [5, 1, 0]], [[2, 0, 0], [2, 4, 0], [6, 0, 0]]], np.uint32)


def test_a_tiny_example_by_hand() -> None:
    weights = np.array([[1, 1], [2, 0], [0, 2], [0, 0]])
    by_hand = [
        (5 / (5 + 11 - 5) + 1 / (7 + 1 - 1)) / 2,
        (3 / (3 + 5 - 3) + 1 / (3 + 1 - 1)) / 2,
        (2 / (2 + 6 - 2) + 0 / (4 + 0 - 0)) / 2,  # class 1 is predicted though never true: it scores 0
        math.nan,  # no class at all
    ]
    np.testing.assert_allclose(weighted_miou(weights, TINY), [100 * value for value in by_hand], rtol=1e-14)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 9))
def test_every_image_once_is_exactly_the_tables_score(seed: int, classes: int, images: int) -> None:
    """Absent classes (never true nor predicted) and classes that are predicted but never true among them."""
    rng = np.random.default_rng(seed)
    matrices = rng.integers(0, 10**6, (images, classes, classes)) * (rng.random((images, classes, classes)) < 0.3)
    matrices[:, :, rng.random(classes) < 0.2] = 0
    matrices[:, rng.random(classes) < 0.4] = 0
    counts = np.stack([margins_of(torch.from_numpy(matrix)).numpy() for matrix in matrices]).astype(np.uint32)
    expected = mean_iou(torch.from_numpy(matrices.sum(0)))
    (actual,) = weighted_miou(np.ones((1, images), np.int64), counts)
    assert actual == expected or (math.isnan(actual) and math.isnan(expected))


def test_the_same_of_whole_runs() -> None:
    found = judged({"gkd": 0.8, "mse": 0.7})
    paired = pair(found.results, found.per_image)
    for row in table(found.results):
        for domain in DOMAINS[1:]:
            scores = [
                float(weighted_miou(np.ones((1, IMAGES), np.int64), run)[0])
                for run in paired.counts[domain][row.method]
            ]
            assert tuple(scores) == row.domains[domain].values


def test_as_many_images_are_drawn_as_there_are_and_all_equally_often() -> None:
    weights = np.concatenate(list(drawn(7, 3001, np.random.default_rng(0))))
    assert weights.shape == (3001, 7)
    assert (weights.sum(1) == 7).all()
    np.testing.assert_allclose(weights.mean(0), 1, atol=4 * math.sqrt(6 / 7 / 3001))
    np.testing.assert_allclose(weights.var(0), 6 / 7, rtol=0.15)  # of a multinomial


def test_as_a_loop_over_resamples_images_and_seeds() -> None:
    found = judged({"gkd": 0.8, "mse": 0.7})
    paired = pair(found.results, found.per_image)
    scores = bootstrap(paired, resamples=5, seed=3)
    for place, domain in enumerate(DOMAINS[1:]):
        (weights,) = drawn(IMAGES, 5, np.random.default_rng([3, place]))
        for method, runs in paired.counts[domain].items():
            for resample, row in enumerate(weights):
                seeds = []
                for run in runs:
                    both, predicted, true = sum(
                        int(w) * image.astype(np.int64) for w, image in zip(row, run, strict=True)
                    )
                    ious = [
                        100 * b / (p + t - b) for b, p, t in zip(both, predicted, true, strict=True) if p + t > b or b
                    ]
                    seeds.append(sum(ious) / len(ious))
                assert scores.domains[domain][method][resample] == pytest.approx(sum(seeds) / len(seeds), rel=1e-12)


def test_all_methods_and_seeds_meet_the_same_images() -> None:
    """A copy of a method differs from it in no resample, which unpaired draws would not give."""
    found = judged({"gkd": 0.8})
    counts = pair(found.results, found.per_image).counts
    copied = {domain: {"gkd": runs["gkd"], "copy": list(reversed(runs["gkd"]))} for domain, runs in counts.items()}
    differences = bootstrap(Paired(copied), resamples=300).differences("copy", "gkd")
    assert set(differences) == set(DOMAINS[1:])
    assert all(np.abs(values).max() < 1e-12 for values in differences.values())
    spread = bootstrap(Paired(copied), resamples=300).domains["night"]["gkd"].std()
    assert spread > 0.3


def test_domains_are_drawn_apart_and_the_seed_decides() -> None:
    found = judged({"gkd": 0.8, "mse": 0.7})
    paired = pair(found.results, found.per_image)
    twice = replace(paired, counts={"one": paired.counts["night"], "two": paired.counts["night"]})
    scores = bootstrap(twice, resamples=50).domains
    assert not np.array_equal(scores["one"]["gkd"], scores["two"]["gkd"])
    again, other = (bootstrap(twice, resamples=50, seed=seed).domains for seed in (0, 1))
    np.testing.assert_array_equal(scores["one"]["gkd"], again["one"]["gkd"])
    assert not np.array_equal(scores["one"]["gkd"], other["one"]["gkd"])


def test_interval_of_known_differences() -> None:
    interval = Interval.of(np.arange(-10.0, 91.0), confidence=90)
    assert interval is not None
    assert (interval.low, interval.high) == (-5, 85)
    assert interval.positive == pytest.approx(100 * 90.5 / 101)  # one of the 101 is a tie
    assert interval.sign == "not separable"
    above, below = Interval.of(np.array([1.0, 2.0, np.nan])), Interval.of(np.array([-1.0, -2.0]))
    assert above is not None
    assert below is not None
    assert (above.sign, above.positive, below.sign) == ("above", 100, "below")
    assert Interval.of(np.full(3, np.nan)) is None


def of_two_classes(rng: np.random.Generator, true: np.ndarray, right: float) -> np.ndarray:
    """Counts (N, 3, 2) of a method that gets each of an image's true pixels (N, 2) right with one probability."""
    both = rng.binomial(true, right)
    return np.stack([both, both + (true - both)[:, ::-1], true], 1).astype(np.uint32)


def test_noise_alone_is_not_separable_and_a_clear_difference_is() -> None:
    """Two methods that differ by luck alone, 200 times: a 90 % interval covers 0 in about 180 of them."""
    covered = clear = 0
    for luck in range(200):
        rng = np.random.default_rng(luck)
        true = rng.integers(5, 60, (40, 2))
        runs = {name: [of_two_classes(rng, true, right)] for name, right in (("a", 0.7), ("b", 0.7), ("c", 0.85))}
        scores = bootstrap(Paired({"day": runs}), resamples=300, seed=luck)
        same, better = (Interval.of(scores.differences(name, "b")["day"], confidence=90) for name in ("a", "c"))
        assert same is not None
        assert better is not None
        covered += same.sign == "not separable"
        clear += better.sign == "above"
    assert 160 <= covered <= 193, covered
    assert clear == 200


def test_methods_that_differ_clearly_are_told_apart() -> None:
    (difference,) = comparison_table(judged({"gkd": 0.7, "mse": 0.6}), "gkd", resamples=300).differences
    assert difference.unseen.interval is not None
    assert difference.unseen.interval.sign == "below"
    assert difference.unseen.interval.positive == 0


def test_the_width_is_that_of_the_theory() -> None:
    """One class, its IoU per image 0 or 1 in equal areas: the mean's deviation is sqrt(p (1 - p) / N)."""
    rng = np.random.default_rng(0)
    right = (rng.random(400) < 0.5).astype(np.uint32)
    ours = np.stack([right, right, np.ones_like(right)], 1)[:, :, None] * np.uint32(100)
    full = np.full_like(ours, 100)
    scores = bootstrap(Paired({"day": {"ours": [ours], "full": [full]}}), resamples=4000)
    differences = scores.differences("ours", "full")["day"]
    share = right.mean()
    assert differences.mean() == pytest.approx(100 * (share - 1), abs=0.2)
    assert differences.std() == pytest.approx(100 * math.sqrt(share * (1 - share) / 400), rel=0.05)


def test_the_source_is_not_in_the_mean() -> None:
    found = judged({"gkd": 0.8, "mse": 0.7})
    whole = comparison_table(found, "gkd", resamples=200)
    assert whole.targets == list(whole.images) == list(DOMAINS[1:])
    (difference,) = whole.differences
    runs = {
        key: {name: counts for name, counts in domains.items() if name != "game"}
        for key, domains in found.per_image.runs.items()
    }
    (without,) = comparison_table(replace(found, per_image=PerImage(runs)), "gkd", resamples=200).differences
    assert without.unseen == difference.unseen


def test_the_difference_shown_is_the_tables() -> None:
    found = comparison_table(judged({"gkd": 0.8, "mse": 0.7}, seeds=(0, 1, 2)), "gkd", resamples=100)
    ours, other = found.rows
    (difference,) = found.differences
    assert difference.unseen.points == other.unseen.mean - ours.unseen.mean
    assert difference.unseen.interval is not None
    assert difference.unseen.interval.low < difference.unseen.points < difference.unseen.interval.high


def test_a_method_is_above_itself_in_half_of_the_resamples() -> None:
    ties = Interval.of(np.zeros(8))
    assert ties is not None
    assert (ties.positive, ties.sign) == (50.0, "not separable")
    assert Interval.of(np.array([-1.0, 0.0, 0.0, 1.0])).positive == 50.0  # type: ignore[union-attr]
