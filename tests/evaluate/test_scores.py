"""Scores per domain: derived from the matrix alone, None for NaN, unseen mean, gap, share recovered."""

from __future__ import annotations

import json
import math

import pytest
import torch

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import (
    DomainScore,
    from_confusion,
    generalization_gap,
    in_domain,
    share_recovered,
    unseen_mean,
)
from tests.evaluate.builders import domain_score


def test_scores_follow_from_the_matrix() -> None:
    score = from_confusion("night", torch.tensor([[8, 2, 0], [0, 0, 0], [0, 0, 0]]), ["a", "b", "c"], images=3)
    assert score.iou == [80.0, 0.0, None]
    assert score.miou == pytest.approx(40.0)
    assert score.miou_present == pytest.approx(80.0)
    assert score.accuracy == pytest.approx(80.0)


def test_round_trip_through_json_keeps_everything_and_writes_no_nan() -> None:
    for score in (domain_score("fog", 33.3, seen=True), from_confusion("empty", torch.zeros(2, 2).long(), "ab", 0)):
        text = json.dumps(score.asdict(), allow_nan=False)
        assert DomainScore.from_dict(json.loads(text)) == score
    assert json.loads(text)["miou"] is None


def test_classes_that_do_not_fit_the_matrix() -> None:
    with pytest.raises(UserError, match="domain fog: 2 class names do not fit"):
        from_confusion("fog", torch.zeros(3, 3).long(), ["a", "b"], 1)


def test_means_gap_and_share() -> None:
    domains = [domain_score("game", 60, seen=True), domain_score("day", 40), domain_score("night", 20)]
    assert unseen_mean(domains) == pytest.approx(30, abs=1e-3)
    assert in_domain(domains) == pytest.approx(60, abs=1e-3)
    assert generalization_gap(domains) == pytest.approx(30, abs=1e-3)
    assert math.isnan(unseen_mean(domains[:1]))
    assert math.isnan(in_domain(domains[1:]))
    assert share_recovered(25, none=20, teacher=40) == pytest.approx(25)
    assert share_recovered(50, none=20, teacher=40) == pytest.approx(150)
    assert math.isnan(share_recovered(25, none=40, teacher=40))
