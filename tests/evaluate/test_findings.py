"""Only what exceeds the spread is claimed, whoever wins; a single seed claims nothing."""

from __future__ import annotations

import pytest

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import compare, comparisons
from gkd_lightning.report.claims import headline
from tests.evaluate.builders import results, run


def test_difference_beyond_and_within_the_spread() -> None:
    found = {comparison.second.method: comparison for comparison in comparisons(results())}
    assert list(found) == ["none", "mse"]
    assert found["none"].verdict == "ahead"
    assert found["none"].unseen.points == pytest.approx(10.5, abs=1e-2)
    assert found["none"].unseen.spread == pytest.approx(2.0, abs=1e-2)
    assert (found["none"].wins, found["none"].losses, found["none"].needed) == (5, 0, 4)
    assert found["mse"].verdict == "level"
    assert compare(results(), "mse", "gkd").verdict == "level"
    assert compare(results(), "none", "gkd").verdict == "behind"


@pytest.mark.parametrize(("won", "verdict"), [(0, "level"), (3, "above"), (4, "ahead"), (5, "ahead")])
def test_a_claim_needs_four_of_five_domains(won: int, verdict: str) -> None:
    runs = [run("none", seed, (60, 20, 20, 20, 20, 20)) for seed in (0, 1)]
    better = [60.0] * won + [20.0] * (5 - won)
    runs += [run("gkd", seed, (60, *better)) for seed in (0, 1)]
    assert compare(results({}, runs=runs), "gkd", "none").verdict == verdict


def test_an_unknown_method() -> None:
    with pytest.raises(UserError, match="foo: no run of this method; there are none, mse, gkd, teacher"):
        compare(results(), "gkd", "foo")


def test_a_mean_that_differs_without_enough_domains_is_not_called_level() -> None:
    runs = [run("mse", seed, (60, 24, 24, 24, 20, 20)) for seed in (0, 1)]
    runs += [run("gkd", seed, (60, 20, 20, 20, 20, 20)) for seed in (0, 1)]
    found = results({}, runs=runs)
    assert compare(found, "gkd", "mse").verdict == "below"
    assert headline(found).endswith("below Two-stage MSE (−2.4) on the mean, though not on 4 of 5 domains.")
