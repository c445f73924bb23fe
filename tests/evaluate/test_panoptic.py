"""Panoptic quality: by hand, against torchmetrics, and over parts."""

from __future__ import annotations

import importlib.util
import math

import pytest
import torch
from torch import Tensor
from torchmetrics.detection import PanopticQuality

from gkd_lightning.data import LabelSpace
from gkd_lightning.evaluate import DomainScore, InstanceMasks, PanopticCounter, SegmentScores, panoptic_score

VOID = 255
NAMES, THINGS = ("sky", "road", "car"), ("car",)
CAR_1, CAR_2, CAR_3 = 2 + 256, 2 + 512, 2 + 768


def counted(prediction: list[list[int]], truth: list[list[int]]) -> PanopticCounter:
    counter = PanopticCounter(3)
    counter.update(torch.tensor([prediction], dtype=torch.int32), torch.tensor([truth], dtype=torch.int32))
    return counter


def test_by_hand() -> None:
    """Sky and road fit by 3 of 4 pixels; one car is found by 2 of 3 pixels with truth, one is cut in halves."""
    truth = [
        [0, 0, 0, 0],
        [CAR_1, CAR_1, CAR_1, VOID],
        [CAR_2, CAR_2, CAR_2, CAR_2],
        [1, 1, 1, 1],
    ]
    prediction = [
        [0, 0, 0, VOID],
        [CAR_2, CAR_2, VOID, CAR_2],  # the pixel without truth belongs to no union
        [CAR_1, CAR_1, CAR_3, CAR_3],  # two halves, neither of which is more than a half
        [1, VOID, 1, 1],
    ]
    overlap, counts = counted(prediction, truth).compute()
    assert overlap.tolist() == [0.75, 0.75, pytest.approx(2 / 3)]
    assert counts.tolist() == [[1, 1, 1], [0, 0, 2], [0, 0, 1]]
    score = panoptic_score(overlap, counts, NAMES, THINGS)
    car = 100 * (2 / 3) / (1 + 2 / 2 + 1 / 2)
    assert score.per_class == [75, 75, pytest.approx(car)]
    assert score.pq == pytest.approx((75 + 75 + car) / 3)
    assert (score.pq_things, score.pq_stuff) == (pytest.approx(car), 75)
    assert score.sq == pytest.approx((75 + 75 + 200 / 3) / 3)
    assert score.rq == pytest.approx((100 + 100 + 40) / 3)


def test_perfect_and_empty() -> None:
    truth = [[0, 0, CAR_1], [1, CAR_2, VOID]]
    perfect = panoptic_score(*counted(truth, truth).compute(), NAMES, THINGS)
    assert (perfect.pq, perfect.sq, perfect.rq) == (100, 100, 100)
    nothing = panoptic_score(*counted([[VOID] * 3] * 2, truth).compute(), NAMES, THINGS)
    assert (nothing.pq, nothing.sq, nothing.rq) == (0, 0, 0)
    unknown = panoptic_score(*counted([[0, 1, CAR_1]], [[VOID] * 3]).compute(), NAMES, THINGS)
    assert math.isnan(unknown.pq)  # nothing is wrong where there is no truth
    assert unknown.wrong == (0, 0, 0)


def blocks(generator: torch.Generator, void: bool) -> Tensor:
    """Four images of 24x24 pixels, blocks of stuff and cars."""
    codes = torch.tensor([0, 1, CAR_1, CAR_2, CAR_3] + [VOID] * void)
    found = codes[torch.randint(0, len(codes), (4, 6, 6), generator=generator)]
    return found.repeat_interleave(4, 1).repeat_interleave(4, 2)


def noisy(truth: Tensor, generator: torch.Generator) -> Tensor:
    other = blocks(generator, void=False)
    keep = torch.rand(truth.shape, generator=generator) < 0.8
    return torch.where(keep & (truth != VOID), truth, other)


def pairs(codes: Tensor) -> Tensor:
    """torchmetrics' (category, instance); an unknown category is void."""
    return torch.stack([codes % 256, codes // 256], -1)


@pytest.mark.parametrize("seed", range(4))
def test_equals_torchmetrics(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    truth = blocks(generator, void=True)
    prediction = noisy(truth, generator)
    ours = PanopticCounter(3)
    ours.update(prediction, truth)
    theirs = PanopticQuality(things={2}, stuffs={0, 1}, return_per_class=True, return_sq_and_rq=True)
    theirs.update(pairs(prediction), pairs(truth))
    score = panoptic_score(*ours.compute(), NAMES, THINGS)
    expected = theirs.compute().squeeze()  # things first
    for position, name in enumerate(("car", "sky", "road")):
        index = NAMES.index(name)
        assert score.per_class[index] == pytest.approx(100 * float(expected[position, 0]), abs=1e-4)
    assert score.sq == pytest.approx(100 * float(expected[:, 1].mean()), abs=1e-4)
    assert score.rq == pytest.approx(100 * float(expected[:, 2].mean()), abs=1e-4)
    assert 0 < score.pq < 100


def test_what_a_prediction_leaves_out_costs_it_something() -> None:
    """The reason why this is not torchmetrics', which takes a third of a car for all of it."""
    truth = [[CAR_1, CAR_1, CAR_1], [0, 0, 0]]
    prediction = [[CAR_1, VOID, VOID], [0, 0, 0]]
    assert panoptic_score(*counted(prediction, truth).compute(), NAMES, THINGS).pq_things == 0
    theirs = PanopticQuality(things={2}, stuffs={0, 1}, allow_unknown_preds_category=True, return_per_class=True)
    theirs.update(pairs(torch.tensor([prediction])), pairs(torch.tensor([truth])))
    assert float(theirs.compute().squeeze()[0]) == 1


def test_parts_add_up_to_the_whole() -> None:
    """Which is what ranks do: both states are sums."""
    generator = torch.Generator().manual_seed(9)
    truth = blocks(generator, void=True)
    prediction = noisy(truth, generator)
    whole, first, second = PanopticCounter(3), PanopticCounter(3), PanopticCounter(3)
    whole.update(prediction, truth)
    first.update(prediction[:1], truth[:1])
    second.update(prediction[1:], truth[1:])
    assert whole._reductions.keys() == {"overlap", "counts"}
    assert all(reduce is torch.sum or "sum" in str(reduce) for reduce in whole._reductions.values())
    torch.testing.assert_close(first.overlap + second.overlap, whole.overlap)
    assert (first.counts + second.counts).equal(whole.counts)


def test_a_score_survives_its_file() -> None:
    truth = [[0, 0, CAR_1], [1, CAR_2, VOID]]
    found = panoptic_score(*counted([[0, 0, CAR_1], [0, CAR_1, 0]], truth).compute(), NAMES, THINGS, ap=12.5)
    score = DomainScore("fog", False, NAMES, ((1, 0, 0),) * 3, 1, found)
    plain = score.asdict()
    assert plain["panoptic"]["pq"] == found.pq
    assert DomainScore.from_dict(plain) == score
    assert score.pq == found.pq
    without = DomainScore("fog", False, NAMES, ((1, 0, 0),) * 3, 1)
    assert "panoptic" not in without.asdict()
    assert math.isnan(without.pq)


@pytest.mark.skipif(importlib.util.find_spec("pycocotools") is None, reason="needs pycocotools")
def test_mask_ap_of_one_right_and_one_wrong_car() -> None:
    space = LabelSpace(NAMES, ((0, 0, 0),) * 3, things=THINGS)
    truth = torch.tensor([[[CAR_1, CAR_1, 0, CAR_2, CAR_2]]], dtype=torch.int32)
    masks = torch.stack([truth[0] == CAR_1, truth[0] == 0])
    scores = SegmentScores(space)
    scores.update(truth, truth, [InstanceMasks(masks, torch.tensor([2, 2]), torch.tensor([0.9, 0.8]))])
    found = scores.score()
    assert found.pq == 100
    assert found.ap == pytest.approx(100 * 51 / 101, abs=0.01)  # one of two: recall up to a half at precision 1
    assert "AP" in str(found)


def test_without_its_library_there_is_no_mask_ap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gkd_lightning.evaluate.segment_scores.ap_is_measured", lambda: False)
    scores = SegmentScores(LabelSpace(NAMES, ((0, 0, 0),) * 3, things=THINGS))
    truth = torch.tensor([[[CAR_1, 0]]], dtype=torch.int32)
    scores.update(truth, truth, [])
    found = scores.score()
    assert found.ap is None
    assert "AP" not in str(found)
    scores.update(truth, 1 - truth % 2, [])
    assert scores.score().pq < found.pq  # what was counted before is forgotten
