"""The report's first sentence, whoever wins."""

from __future__ import annotations

from gkd_lightning.evaluate import Results
from gkd_lightning.evaluate.results import Cost
from gkd_lightning.report import headline
from tests.evaluate.builders import results, run


def test_headline_when_the_method_wins_draws_and_loses() -> None:
    assert headline(results()) == (
        "On five unseen domains, GKD reaches 30.5 ± 1.0 mIoU over 3 seeds: ahead of No distillation (+10.5) by more "
        "than the spread and not separable from Two-stage MSE (+0.5)."
    )
    losing = headline(results({"none": (20, 1), "mse": (30, 1), "gkd": (15, 1)}))
    assert "GKD reaches 15.0" in losing
    assert losing.endswith("behind No distillation (−5.0) and Two-stage MSE (−15.0) by more than the spread.")


def test_headline_of_a_single_seed_claims_nothing() -> None:
    text = headline(results(seeds=1))
    assert "10.5 above No distillation and 0.5 above Two-stage MSE" in text
    assert "carry no error bar" in text
    assert "spread" not in text


def test_headlines_of_odd_collections() -> None:
    assert "no other student" in headline(results({"gkd": (30, 1), "teacher": (40, 1)}))
    assert "Two-stage MSE is the best student" in headline(results({"none": (20, 1), "mse": (30, 1)}))
    assert "No student" in headline(results({"teacher": (40, 1)}))
    seen_only = [run("gkd", domains=[run("gkd").domains[0]])]
    assert "No student was judged on an unseen domain" in headline(results({}, runs=seen_only))


def test_a_trial_claims_nothing() -> None:
    def trained(*steps: int | None) -> Results:
        runs = [run(method, cost=Cost(steps=count)) for method, count in zip(("none", "gkd"), steps, strict=True)]
        return results({}, runs=[*runs, run("teacher", cost=Cost(steps=4000))])

    assert headline(trained(8, 20)) == "A trial of 20 steps: everything ran, and the numbers say nothing yet."
    for steps in ((8, 800), (99, 100), (None, 8), (None, None)):
        assert "GKD reaches" in headline(trained(*steps))
