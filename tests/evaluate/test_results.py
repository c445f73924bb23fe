"""results.json and results.csv: complete, round-trip, refused with one line when damaged."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pytest

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import Results, RunResult, merge
from tests.evaluate.builders import DOMAINS, SPACE, results, run


def test_round_trip(tmp_path: Path) -> None:
    before = results()
    before.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == before
    assert json.loads((tmp_path / "results.json").read_text())["schema"] == 1


def test_a_curve_with_a_value_that_is_not_finite_survives_as_nan(tmp_path: Path) -> None:
    before = results({}, runs=[run("gkd", curves={"a/loss": [(0, 1.0), (1, math.nan), (2, math.inf)]})])
    before.save(tmp_path / "results.json")
    points = Results.load(tmp_path / "results.json").runs[0].curves["a/loss"]
    assert points[0] == (0, 1.0)
    assert [math.isnan(value) for _, value in points] == [False, True, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "schema None"),
        ('{"schema": 99}', "schema 99, this version reads schema 1"),
        ('{"schema": 1, "runs": [{"method": "gkd"}]}', "damaged results"),
        ('{"schema": 1, "runs": 3}', "damaged results"),
    ],
)
def test_a_file_that_is_not_ours(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        Results.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.json: cannot be read"):
        Results.load(tmp_path / "nowhere.json")


@pytest.mark.parametrize("change", [{"selection": "best"}, {"role": "student"}])
def test_unknown_selection_or_role(change: dict[str, str]) -> None:
    with pytest.raises(UserError, match="is none of"):
        run("gkd", **change)


def test_csv_has_a_row_per_run_and_domain_and_a_column_per_class() -> None:
    rows = list(csv.DictReader(io.StringIO(results().to_csv())))
    assert len(rows) == 4 * 3 * len(DOMAINS)
    assert [key for key in rows[0] if key.startswith("iou/")] == [f"iou/{name}" for name in SPACE.names]
    night = next(row for row in rows if row["method"] == "gkd" and row["seed"] == "1" and row["domain"] == "night")
    assert float(night["miou"]) == pytest.approx(30.5, abs=1e-3)
    assert (night["iou/car"], night["seen"]) == ("", "False")
    assert json.loads(night["protocol"])["sliding"]["window"] == 96


def test_a_run_can_be_made_with_the_least() -> None:
    assert RunResult("gkd", "GKD", 0, []).selection == "last"


def test_merge_joins_runs_and_refuses_duplicates() -> None:
    parts = [results({}, runs=[run("gkd", seed)], recipe=f"{seed}.yaml") for seed in (0, 1)]
    whole = merge(parts, title="Both")
    assert [(found.method, found.seed) for found in whole.runs] == [("gkd", 0), ("gkd", 1)]
    assert (whole.recipe, whole.title) == ("0.yaml + 1.yaml", "Both")
    with pytest.raises(UserError, match="method gkd, seed 0 occurs twice"):
        merge([parts[0], parts[0]])
    with pytest.raises(UserError, match="no results"):
        merge([])
