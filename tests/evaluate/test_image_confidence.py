"""Confidence counted image by image: exact, whatever the order and the number of processes; kept beside the counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import (
    DomainScore,
    ImageCounter,
    PerImage,
    Results,
    confidence,
    from_confusion,
    tempered,
)
from gkd_lightning.evaluate.bootstrap import drawn
from gkd_lightning.evaluate.confidence_levels import BINS, BRIER_UNITS, LEVELS, UNITS, brier_sum
from gkd_lightning.evaluate.temperature_grid import TEMPERATURES
from gkd_lightning.evaluate.trust import CONFIDENCE, PIXELS, RIGHT, TRUST_COLUMNS, calibration_error
from gkd_lightning.evaluate.trust_rows import trust_table, weighted_error
from tests.evaluate.builders import SPACE, run

CLASSES, IMAGES, SIZE = 3, 5, (14, 15)
NAMES = ["c", "a", "ä/b c", "d", "b"]


def scored() -> tuple[Tensor, Tensor]:
    """Class scores (5, 3, 14, 15) of any sum, and labels; a fifth of the pixels has no truth, the fourth image none."""
    generator = torch.Generator().manual_seed(3)
    scores = torch.rand(IMAGES, CLASSES, *SIZE, generator=generator) ** 3 * 40
    label = torch.where(
        torch.rand(IMAGES, *SIZE, generator=generator) < 0.6,
        scores.argmax(1),
        torch.randint(0, CLASSES, (IMAGES, *SIZE), generator=generator),
    ).to(torch.uint8)
    label[torch.rand(label.shape, generator=generator) < 0.2] = 255
    label[3] = 255
    return scores, label


def counted(order: list[int], sizes: tuple[int, ...] = (1,) * IMAGES) -> ImageCounter:
    scores, label = scored()
    metric, start = ImageCounter(CLASSES), 0
    for size in sizes:
        part = order[start : start + size]
        start += size
        metric.update(scores[part].argmax(1), label[part], [NAMES[index] for index in part], scores[part])
    metric.compute()
    return metric


def test_pixel_by_pixel() -> None:
    scores, label = scored()
    metric = counted([0, 1, 2, 3, 4])
    trust, bins = metric.trust, metric.image_counts.bins
    assert trust is not None
    assert bins is not None
    share = scores.double() / scores.double().sum(1, keepdim=True)
    brier, pixels = 0.0, 0
    for place, name in enumerate(metric.image_counts.names):
        index, expected = NAMES.index(name), np.zeros((BINS, 3), np.int64)
        for y, x in torch.cartesian_prod(*map(torch.arange, SIZE)).tolist():
            truth, probability = int(label[index, y, x]), share[index, :, y, x]
            if truth != 255:
                level = int(np.ceil(float(probability.max()) * LEVELS))
                expected[(level - 1) * BINS // LEVELS] += [1, int(probability.argmax()) == truth, 2 * level - 1]
                brier += float((probability - torch.eye(CLASSES)[truth]).square().sum())
                pixels += 1
        np.testing.assert_array_equal(bins[place], expected)
    np.testing.assert_array_equal(bins.sum(0), trust.bins)
    assert trust.brier == pytest.approx(brier / pixels, abs=1e-6)


def test_order_and_batches_change_nothing() -> None:
    first = counted([0, 1, 2, 3, 4])
    expected = everything(first, first.matrix)
    for other in (counted([4, 2, 0, 3, 1], (2, 0, 3)), counted([3, 1, 4, 0, 2], (5,))):
        assert everything(other, other.matrix) == expected
        np.testing.assert_array_equal(other.image_counts.bins, first.image_counts.bins)
        np.testing.assert_array_equal(other.image_counts.tempered, first.image_counts.tempered)


def everything(metric: ImageCounter, matrix: Tensor) -> DomainScore:
    """All that a file holds of a domain, after `compute()`."""
    assert metric.at_temperatures is not None
    at_home = tempered({"day": metric.at_temperatures}, ["day"])["day"]
    metric.remember(at_home.temperature)
    return from_confusion("day", matrix, SPACE.names, metric.num_images, trust=metric.trust, tempered=at_home)


def _rank(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    scores, label = scored()
    for total in (5, 1):  # 3 and 2 images; then 1 and none, whose rank has padding alone
        metric = ImageCounter(CLASSES)
        for index in range(rank, total, world):
            one = slice(index, index + 1)
            metric.update(scores[one].argmax(1), label[one], NAMES[one], scores[one])
        if rank >= total:
            metric.update(label[:0].long(), label[:0], [], [])
        matrix = metric.compute()
        results = Results("r", "r", [run("gkd", domains=[everything(metric, matrix)])], created="")
        results.save(f"{folder}/rank{rank}-{total}.json")
        PerImage({("gkd", 0): {"day": metric.image_counts}}).save(f"{folder}/rank{rank}-{total}.npz")
    dist.destroy_process_group()


def test_two_processes_write_the_files_of_one(tmp_path: Path) -> None:
    mp.start_processes(_rank, args=(2, str(tmp_path)), nprocs=2, start_method="fork")  # imports nothing again
    for total in (5, 1):
        single = counted(list(range(total)), (total,))
        score = everything(single, single.matrix)
        assert score.tempered is not None
        Results("r", "r", [run("gkd", domains=[score])], created="").save(tmp_path / "one.json")
        PerImage({("gkd", 0): {"day": single.image_counts}}).save(tmp_path / "one.npz")
        for rank in range(2):
            for kind in ("json", "npz"):
                written = tmp_path / f"rank{rank}-{total}.{kind}"
                assert written.read_bytes() == (tmp_path / f"one.{kind}").read_bytes()


def test_without_scores_nothing_is_said_of_confidence(tmp_path: Path) -> None:
    """As an export of ids alone, and as every evaluation before confidence was judged."""
    scores, label = scored()
    metric = ImageCounter(CLASSES)
    metric.update(scores.argmax(1), label, NAMES)
    score = from_confusion("day", metric.compute(), SPACE.names, 5, trust=metric.trust)
    assert score.trust is None
    assert "trust" not in score.asdict()
    PerImage({("gkd", 0): {"day": metric.image_counts}}).save(tmp_path / "old.npz")
    assert PerImage.load(tmp_path / "old.npz").runs["gkd", 0]["day"].bins is None
    results = Results("r", "r", [run("gkd", domains=[score])])
    assert trust_table(results) == []
    assert "ece" not in results.to_csv()


def test_files_hold_it(tmp_path: Path) -> None:
    metric = counted([0, 1, 2, 3, 4])
    score = from_confusion("day", metric.matrix, SPACE.names, 5, trust=metric.trust)
    before = Results("r", "r", [run("gkd", domains=[score])])
    before.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == before
    head, line = (text.split(",") for text in before.to_csv().splitlines())
    for name in TRUST_COLUMNS:
        assert float(line[head.index(name) - len(head)]) == pytest.approx(getattr(metric.trust, name), abs=1e-4)
    PerImage({("gkd", 0): {"day": metric.image_counts}}).save(tmp_path / "per_image.npz")
    bins = PerImage.load(tmp_path / "per_image.npz").runs["gkd", 0]["day"].bins
    np.testing.assert_array_equal(bins, metric.image_counts.bins)
    assert PerImage.load(tmp_path / "per_image.npz").runs["gkd", 0]["day"].tempered is None
    everything(metric, metric.matrix)
    PerImage({("gkd", 0): {"day": metric.image_counts}}).save(tmp_path / "per_image.npz")
    warm = PerImage.load(tmp_path / "per_image.npz").runs["gkd", 0]["day"].tempered
    np.testing.assert_array_equal(warm, metric.image_counts.tempered)


def test_the_same_run_is_known_whether_or_not_its_confidence_was_judged() -> None:
    metric = counted([0, 1, 2, 3, 4])
    old, new = (
        run("gkd", domains=[from_confusion("day", metric.matrix, SPACE.names, 5, trust=trust)])
        for trust in (None, metric.trust)
    )
    assert old.same_as(new)
    assert old != new


def test_an_interval_is_that_of_the_drawn_images() -> None:
    metric = counted([0, 1, 2, 3, 4])
    bins = metric.image_counts.bins
    assert bins is not None
    score = from_confusion("day", metric.matrix, SPACE.names, 5, trust=metric.trust)
    results = Results("r", "r", [run("gkd", domains=[score])])
    kept = PerImage({("gkd", 0): {"day": metric.image_counts}})
    ((_, (found,)),) = trust_table(results, kept, resamples=400)
    (weights,) = drawn(5, 200, np.random.default_rng(1))
    again = [calibration_error(np.repeat(bins, row, axis=0).sum(0)) for row in weights]
    np.testing.assert_allclose(weighted_error(weights, bins), again, atol=1e-12)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(np.nanpercentile(again, 2.5), abs=3)
    assert found.interval.high == pytest.approx(np.nanpercentile(again, 97.5), abs=3)
    assert trust_table(results)[0][1][0].interval is None
    strange = PerImage({("gkd", 0): {"day": counted([0, 1], (2,)).image_counts}})
    with pytest.raises(UserError, match="gkd seed 0, day: the confidence of each image does not sum"):
        trust_table(results, strange)


def test_an_interval_at_the_temperature_is_that_of_the_same_images() -> None:
    metric = counted([3, 1, 4, 0, 2], (2, 3))
    score = everything(metric, metric.matrix)
    bins = metric.image_counts.tempered
    assert bins is not None
    assert score.tempered is not None
    assert metric.image_counts.names == tuple(sorted(NAMES))
    np.testing.assert_array_equal(bins.sum(0), score.tempered.bins)
    for name, of_image in zip(metric.image_counts.names, bins, strict=True):  # each in its own place
        alone = counted([NAMES.index(name)], (1,))
        if alone.at_temperatures is not None:
            np.testing.assert_array_equal(
                of_image, alone.at_temperatures.bins[TEMPERATURES.index(score.tempered.temperature)]
            )
    results = Results("r", "r", [run("gkd", domains=[score])])
    kept = PerImage({("gkd", 0): {"day": metric.image_counts}})
    ((_, (found,)),) = trust_table(results, kept, resamples=200)
    (weights,) = drawn(5, 200, np.random.default_rng([0, 0]))
    again = [calibration_error(np.repeat(bins, row, axis=0).sum(0)) for row in weights]
    assert found.tempered_interval is not None
    assert found.tempered_interval.low == pytest.approx(np.nanpercentile(again, 2.5))
    assert found.tempered_interval.high == pytest.approx(np.nanpercentile(again, 97.5))
    older = replace(metric.image_counts, tempered=None)
    ((_, (found,)),) = trust_table(results, PerImage({("gkd", 0): {"day": older}}), resamples=200)
    assert found.interval is not None
    assert found.tempered_interval is None
    strange = replace(metric.image_counts, tempered=bins + 1)
    with pytest.raises(UserError, match="gkd seed 0, day: the confidence of each image does not sum"):
        trust_table(results, PerImage({("gkd", 0): {"day": strange}}))


def test_over_seeds_the_error_is_a_mean_and_the_bins_are_sums() -> None:
    metric = counted([0, 1, 2, 3, 4])
    score = from_confusion("day", metric.matrix, SPACE.names, 5, trust=metric.trust)
    results = Results("r", "r", [run("gkd", seed, domains=[score]) for seed in (0, 1)])
    ((row, (found,)),) = trust_table(results)
    assert metric.trust is not None
    assert row.seeds == (0, 1)
    assert found.scores["ece"].mean == pytest.approx(metric.trust.ece)
    assert found.scores["ece"].std == pytest.approx(0)
    np.testing.assert_array_equal(found.bins, 2 * np.array(metric.trust.bins))
    assert found.confidence.mean == pytest.approx(
        100 * found.bins[:, CONFIDENCE].sum() / UNITS / found.bins[:, PIXELS].sum()
    )
    assert found.accuracy.mean == pytest.approx(100 * found.bins[:, RIGHT].sum() / found.bins[:, PIXELS].sum())


def test_a_pixel_without_any_score() -> None:
    scores = torch.zeros(CLASSES, 1, 2)
    assert confidence(scores[None]).tolist() == [[[0.0, 0.0]]]
    label, seen = torch.tensor([[0, 255]]), torch.tensor([[True, False]])
    assert int(brier_sum(scores, label, seen)) == BRIER_UNITS
