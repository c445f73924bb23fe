"""A temperature from the source alone: counted as it is defined, the same as of logits, kept in files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from gkd_lightning.evaluate import ImageCounter, Results, Tempered, from_confusion, tempered
from gkd_lightning.evaluate.confidence_levels import BINS, UNITS
from gkd_lightning.evaluate.temperature_grid import (
    AS_IT_IS,
    LOSS_UNITS,
    STRIDE,
    TEMPERATURES,
    sampled,
    temperature_counts,
)
from gkd_lightning.evaluate.tempering import TEMPERED_COLUMNS, TemperatureCounts
from gkd_lightning.evaluate.trust import CONFIDENCE, PIXELS, RIGHT
from tests.evaluate.builders import SPACE, run

CLASSES, SIZE = 3, 8 * STRIDE


def image(sharpness: float, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits (3, H, W) that are too sure by `sharpness`, and the label; a tenth of the pixels has none."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(CLASSES, SIZE, SIZE, generator=generator)
    drawn = torch.multinomial(logits.softmax(0).flatten(1).T, 1, generator=generator).reshape(SIZE, SIZE)
    label = drawn.to(torch.uint8)
    label[torch.rand(label.shape, generator=generator) < 0.1] = 255
    return sharpness * logits, label


def counted(sharpness: float, images: int = 4) -> ImageCounter:
    metric = ImageCounter(CLASSES)
    for seed in range(images):
        logits, label = image(sharpness, seed)
        scores = 7 * logits.softmax(0)  # of any sum
        metric.update(scores.argmax(0)[None], label[None], [str(seed)], [scores])
    metric.compute()
    return metric


def at_temperatures(metric: ImageCounter) -> TemperatureCounts:
    assert metric.at_temperatures is not None
    return metric.at_temperatures


def test_confidence_and_loss_are_those_of_logits_divided_by_the_temperature() -> None:
    logits, label = image(1.7)
    scores = 7 * logits.softmax(0)
    parts = (scores, label, scores.argmax(0) == label, label != 255)
    bins, losses = temperature_counts(*sampled("a", *parts))
    logits, label = (part.double() for part in sampled("a", logits, label))
    kept = label != 255
    truth = label[kept].long()
    for place, temperature in enumerate(TEMPERATURES):
        share = (logits[:, kept] / temperature).softmax(0)
        sure, found = share.max(0)
        loss = torch.nn.functional.nll_loss(share.log().T, truth, reduction="sum")
        assert losses[place] / LOSS_UNITS == pytest.approx(float(loss), rel=1e-6)
        assert bins[place, :, PIXELS].sum() == kept.sum()
        assert bins[place, :, RIGHT].sum() == (found == truth).sum()
        assert bins[place, :, CONFIDENCE].sum() / UNITS == pytest.approx(float(sure.sum()), abs=len(truth) / UNITS)
        expected = np.bincount(np.ceil(sure.numpy() * BINS).astype(int) - 1, minlength=BINS)
        assert bins[place, :, PIXELS].tolist() == expected.tolist()


def test_the_pixels_follow_from_the_images_name() -> None:
    place = torch.arange(SIZE * SIZE).reshape(1, SIZE, SIZE)
    begin = {int(sampled(str(name), place)[0][0, 0]) for name in range(400)}
    assert {divmod(pixel, SIZE) for pixel in begin} == {(y, x) for y in range(STRIDE) for x in range(STRIDE)}
    one, again = (sampled("a/b ä.png", place)[0] for _ in range(2))
    assert one.equal(again)
    assert one.shape == (1, 64)


def test_large_images_are_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, label = image(1.7)
    scores = logits.softmax(0)
    parts = sampled("a", scores, label, scores.argmax(0) == label, label != 255)
    whole = temperature_counts(*parts)
    monkeypatch.setattr("gkd_lightning.evaluate.temperature_grid._AT_ONCE", 10 * len(TEMPERATURES))
    for one, other in zip(whole, temperature_counts(*parts), strict=True):
        assert (one - other).abs().max() <= 1  # a sum's order may differ in the last bit of fp32


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0, 4.0])
def test_finds_by_how_much_it_is_too_sure(sharpness: float) -> None:
    found = tempered({"home": at_temperatures(counted(sharpness, 12))}, ["home"])["home"]
    assert found.temperature == found.temperature_own
    assert found.temperature == pytest.approx(sharpness, rel=0.16)  # of 700 pixels
    assert found.nll_after <= found.nll_before
    assert found.ece_after < 6
    if sharpness > 1:
        assert found.ece_after < found.ece_before - 5


def test_the_error_is_torchmetrics() -> None:
    """Of the pixels that are looked at, as they are and at the temperature."""
    found = tempered({"home": at_temperatures(counted(2.0))}, ["home"])["home"]
    images = [sampled(str(seed), *image(2.0, seed)) for seed in range(4)]
    logits = torch.cat([logits.T for logits, _ in images]).double()
    label = torch.cat([label for _, label in images]).long()
    for temperature, error in ((1.0, found.ece_before), (found.temperature, found.ece_after)):
        share = (logits / temperature).softmax(1)
        expected = multiclass_calibration_error(share, label, CLASSES, BINS, "l1", ignore_index=255)
        assert error / 100 == pytest.approx(float(expected), abs=0.5 / UNITS + 1e-6)


def test_no_target_has_a_say() -> None:
    home, near, far = (at_temperatures(counted(sharpness)) for sharpness in (1.0, 2.0, 4.0))
    alone = tempered({"home": home}, ["home"])["home"]
    found = tempered({"far": far, "home": home, "near": near}, ["home"])
    assert list(found) == ["far", "home", "near"]
    assert found["home"] == alone
    assert {each.temperature for each in found.values()} == {alone.temperature}
    assert found["far"].temperature_own > found["near"].temperature_own > alone.temperature
    assert found["far"].ece_own < found["far"].ece_after
    both = tempered({"home": home, "near": near}, ["home", "near"])["home"]
    assert alone.temperature < both.temperature < found["near"].temperature_own


def test_without_a_source_or_pixels() -> None:
    home, nothing = at_temperatures(counted(1.0)), ImageCounter(CLASSES)
    assert tempered({"day": home}, ["game"]) == {}
    nothing.update(torch.zeros(1, 9, 9).long(), torch.full((1, 9, 9), 255), ["a"], [torch.ones(CLASSES, 9, 9)])
    nothing.compute()
    assert nothing.at_temperatures is None
    empty = TemperatureCounts(np.zeros((len(TEMPERATURES), BINS, 3), np.int64), np.zeros(len(TEMPERATURES), np.int64))
    assert tempered({"home": empty, "day": home}, ["home"]) == {}
    assert list(tempered({"home": home, "day": empty}, ["home"])) == ["home"]


def test_scores_of_nothing_and_of_one_class_alone() -> None:
    """A class without any score has a finite loss, a pixel without any score all classes alike."""
    scores = torch.tensor([[0.0, 5.0, 5.0, torch.nan], [0.0, 0.0, 0.0, torch.nan]])
    label, right = torch.tensor([0, 0, 1, 0]), torch.tensor([True, True, False, True])
    bins, losses = temperature_counts(scores, label, right, torch.ones(4, dtype=torch.bool))
    assert bins[AS_IT_IS, :, PIXELS].sum() == 4
    expected = -np.log([0.5, 1, 1e-12, 0.5]).sum()
    assert losses[AS_IT_IS] / LOSS_UNITS == pytest.approx(expected, rel=1e-5)


def test_files_hold_it() -> None:
    metric = counted(2.0)
    found = tempered({"day": at_temperatures(metric)}, ["day"])["day"]
    assert Tempered.from_dict(found.asdict()) == found
    score = from_confusion("day", metric.matrix, SPACE.names, 4, True, trust=metric.trust, tempered=found)
    before = Results("r", "r", [run("gkd", domains=[score])])
    assert Results.from_dict(before.asdict()).runs == before.runs
    head, line = (text.split(",") for text in before.to_csv().splitlines())
    for name in TEMPERED_COLUMNS:
        assert float(line[head.index(name) - len(head)]) == pytest.approx(getattr(found, name), abs=1e-4)
    old = from_confusion("day", metric.matrix, SPACE.names, 4, True)
    assert "temperature" not in Results("r", "r", [run("gkd", domains=[old])]).to_csv()
    assert run("gkd", domains=[old]).same_as(before.runs[0])
