"""Means and deviations over seeds, and the refusal to mix protocols."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import Spread, check_comparable, table
from gkd_lightning.evaluate.tables import class_means
from gkd_lightning.report.style import looks
from gkd_lightning.report.table_cells import result_table
from tests.evaluate.builders import DOMAINS, domain_score, results, run


def test_spread_is_the_sample_standard_deviation() -> None:
    assert str(Spread.of([29.0, 30.0, 31.0])) == "30.0 ± 1.0"
    assert str(Spread.of([30.0])) == "30.0"
    assert str(Spread.of([])) == "–"
    assert math.isnan(Spread.of([30.0]).std)


def test_one_row_per_method_over_its_seeds() -> None:
    rows = {row.method: row for row in table(results())}
    assert list(rows) == ["none", "mse", "gkd", "teacher"]
    ours = rows["gkd"]
    assert ours.seeds == (0, 1, 2)
    assert list(ours.domains) == list(DOMAINS)
    assert ours.domains["night"].mean == pytest.approx(30.5, abs=1e-3)
    assert ours.domains["night"].std == pytest.approx(1.0, abs=1e-3)
    assert ours.unseen.mean == pytest.approx(30.5, abs=1e-3)
    assert ours.in_domain.mean == pytest.approx(60, abs=1e-3)
    assert ours.gap.mean == pytest.approx(29.5, abs=1e-3)
    assert ours.recovered.mean == pytest.approx(52.5, abs=0.1)
    assert rows["none"].recovered.mean == pytest.approx(0, abs=0.1)


def test_the_first_teacher_is_the_upper_end() -> None:
    """Others are the same network trained in another way: they have a share of their own."""
    another = [run("adapted", 0, (60, *[50.0] * 5), role="teacher")]
    found = results(seeds=1)
    rows = table(replace(found, runs=[*found.runs, *another]))
    assert [round(row.recovered.mean) for row in rows if row.role == "teacher"] == [100, 150]
    _, headings, lines = result_table(replace(found, runs=[*found.runs, *another]))
    assert [line.cells[headings.index("recovered") - len(headings)].text for line in lines[-2:]] == ["100 %", "150 %"]
    drawn = looks([(row.method, row.role) for row in rows], "gkd")
    assert drawn["teacher"] != drawn["adapted"]


def test_without_teacher_or_baseline_no_share_is_made_up() -> None:
    assert math.isnan(table(results({"gkd": (30, 1), "none": (20, 1)}))[0].recovered.mean)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"protocol": {"resize": "fit", "size": [96, 96], "sliding": {"window": 96, "stride": 96}}}, "protocol.resize"),
        (
            {"protocol": {"resize": "none", "size": [96, 96], "sliding": {"window": 64, "stride": 96}}},
            "protocol.sliding.window is 96 for none seed 0, 64 for gkd seed 0",
        ),
        ({"protocol": {}}, "protocol.resize is none for none seed 0, not set"),
        ({"selection": "oracle"}, "selection is last"),
        ({"domains": [domain_score("game", 50, seen=True)]}, "domains"),
        ({"domains": [domain_score(name, 50, seen=True) for name in DOMAINS]}, "day.seen is False"),
        ({"domains": [domain_score(name, 50, name == "game", images=3) for name in DOMAINS]}, "game.images is 4"),
    ],
)
def test_runs_that_were_judged_differently_are_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(UserError, match=field.replace(".", r"\.")) as caught:
        table(results({}, runs=[run("none"), run("gkd", **change)]))
    assert "\n" not in str(caught.value)


def test_a_protocol_read_back_from_json_equals_the_one_written() -> None:
    check_comparable([run("none", protocol={"size": (96, 96)}), run("gkd", protocol={"size": [96, 96]})])


def test_nothing_to_compare() -> None:
    with pytest.raises(UserError, match="no run"):
        table(results({}))


def test_class_means_ignore_seeds_in_which_a_class_is_undefined() -> None:
    domains, classes, values = class_means(table(results())[0])
    assert (domains, classes) == (list(DOMAINS), ["sky", "road", "car"])
    assert values.shape == (6, 3)
    np.testing.assert_allclose(values[1, :2], 20, atol=1e-3)
    assert np.isnan(values[:, 2]).all()
