"""What changed from one run to another: signs, order, and what cannot be compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import ImageCounts, PerImage, changes, image_scores
from gkd_lightning.evaluate.collection import Collection
from tests.evaluate.judged import DOMAINS, IMAGES, judged

BEFORE, AFTER = judged({"gkd": 0.6, "mse": 0.7}), judged({"none": 0.5, "gkd": 0.8}, seeds=(0,), luck=1)


def test_domains_classes_and_images_of_the_methods_that_both_hold() -> None:
    (method,) = changes(BEFORE, AFTER)
    assert (method.title, method.seeds) == ("GKD", ((0, 1), (0,)))
    assert [each.miou.name for each in method.domains] == list(DOMAINS)
    assert [each.seen for each in method.domains] == [True, False, False]
    before = [run for run in BEFORE.results.runs if run.method == "gkd"]
    after = next(run for run in AFTER.results.runs if run.method == "gkd")
    for index, found in enumerate(method.domains):
        assert found.miou.before == pytest.approx(np.mean([run.domains[index].miou for run in before]))
        assert found.miou.after == pytest.approx(after.domains[index].miou)
        points = [each.points for each in found.images]
        assert len(points) == IMAGES
        assert points == sorted(points, reverse=True)
        sky = next(each for each in found.classes if each.name == "sky")
        assert sky.after == pytest.approx(after.domains[index].iou[0])
    night = {each.name: each for each in method.domains[1].images}
    counts = [BEFORE.per_image.runs["gkd", seed]["night"] for seed in (0, 1)]
    assert night["night_03"].before == pytest.approx(np.mean([image_scores(each)[3] for each in counts]))
    assert method.unseen.points > 10


def test_a_single_row_each_is_compared_whatever_it_is_called() -> None:
    (method,) = changes(judged({"mse": 0.7}), judged({"gkd": 0.7}))
    assert method.title == "GKD"
    with pytest.raises(UserError, match="no method in common: before mse, none; now gkd"):
        changes(judged({"mse": 0.7, "none": 0.5}), judged({"gkd": 0.7}))


def test_without_counts_of_every_image_domains_and_classes_are_left() -> None:
    for before, after in (
        (replace(BEFORE, per_image=PerImage()), AFTER),
        (BEFORE, replace(AFTER, per_image=PerImage())),
    ):
        (method,) = changes(before, after)
        assert all(not each.images and each.classes for each in method.domains)


def test_runs_that_were_judged_otherwise_are_refused() -> None:
    with pytest.raises(UserError, match="different protocols"):
        changes(judged({"gkd": 0.7}, images=11), judged({"gkd": 0.7}))
    with pytest.raises(UserError, match="night: the run before and this run have no image in common"):
        changes(judged({"gkd": 0.7}), _only_night(judged({"gkd": 0.7}, prefix="a_")))
    other = _only_night(judged({"gkd": 0.7}))
    found = other.per_image.runs["gkd", 0]["night"]
    counts = found.counts.copy()
    counts[5, 2] += 1
    other.per_image.runs["gkd", 0]["night"] = ImageCounts(found.names, counts)
    with pytest.raises(UserError, match="night: the label of night_05 is not the same for the run before and this run"):
        changes(judged({"gkd": 0.7}), other)


def _only_night(found: Collection) -> Collection:
    runs = {key: {"night": domains["night"]} for key, domains in found.per_image.runs.items()}
    return replace(found, per_image=PerImage(runs))
