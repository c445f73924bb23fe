"""`gkd reproduce`: which rows, what is missing, and a table beside the published numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from gkd_lightning.cli import main
from gkd_lightning.errors import UserError
from gkd_lightning.recipes.benchmark import load_benchmark, load_profile, row_name
from gkd_lightning.report.published import Cell

PAIRS = {"f2l": 4, "f2f": 4}


@pytest.mark.parametrize("family", PAIRS)
def test_every_recipe_has_all_pairs_a_basis_and_shares_1a(family: str, tmp_path: Path) -> None:
    from gkd_lightning.chain.plan import make_plan

    parts = load_benchmark(family)
    assert parts[0].name == "gtav"  # which the others extend
    first: set[str] = set()
    for part in parts:
        gkd = [method for method in part.recipe.methods if len(method.stages) == 3]
        assert len(gkd) == PAIRS[family]
        assert all(method.basis is not None and method.basis.why for method in part.recipe.methods)
        assert bool(part.recipe.published_in) == any(method.published for method in part.recipe.methods)
        plan = make_plan(part.recipe, tmp_path)
        first |= {stage.hash for stage in plan.stages if stage.name == "task_agnostic"}
    assert len(first) == PAIRS[family]


def test_rows_by_name() -> None:
    assert row_name("gtav_acdc", "student_deit_s") == "student-deit-s-gtav-acdc"
    (part,) = load_benchmark("f2l", ["deit-s-gtav", "dinov2-b-gtav"])
    assert (part.name, part.methods) == ("gtav", ("deit_s", "dinov2_b"))
    with pytest.raises(UserError, match=r"deit-gtav: no such row in f2l, did you mean 'deit-s-gtav'\?"):
        load_benchmark("f2l", ["deit-gtav"])
    with pytest.raises(UserError, match="no recipes in experiments/f2x"):
        load_benchmark("f2x")
    with pytest.raises(UserError, match=r"no such profile, did you mean 'smoke'\? \(one of full"):
        load_profile("smok")


def test_cells() -> None:
    assert str(Cell(50.04, 54.9)) == "50.0 / 54.9 (−4.9)"
    assert str(Cell(56.0, 54.9)) == "56.0 / 54.9 (+1.1)"
    assert str(Cell(56.0, math.nan)) == "56.0"
    assert str(Cell(56.0, 54.9, 0.31)) == "56.0 ± 0.3 / 54.9 (+1.1)"
    assert str(Cell(56.0, math.nan, 0.31)) == "56.0 ± 0.3"


@pytest.mark.parametrize("family", PAIRS)
def test_published_means_are_those_of_the_published_domains(family: str) -> None:
    """A slip of the pen in a recipe would show; the paper's own means are rounded, or cut, to a tenth."""
    rows = [method.published for part in load_benchmark(family) for method in part.recipe.methods if method.published]
    whole = [row for row in rows if len(row) > 1]
    assert len(whole) >= 9
    for row in whole:
        domains = [value for name, value in row.items() if name != "mean"]
        assert row["mean"] == pytest.approx(sum(domains) / len(domains), abs=0.1), row


def test_missing_data_stop_before_the_first_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path / "none"))
    out = tmp_path / "out"
    assert main(["reproduce", "f2l", "--row", "deit-s-gtav", "--out", str(out), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "data: GTAV: NOT USABLE" in printed
    assert "task_agnostic-" in printed
    assert main(["reproduce", "f2l", "--row", "deit-s-gtav", "--out", str(out)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gkd: 5 of 5 data sets cannot be used, first ")
    assert not out.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "gkd", "other"), [("f2l", "deit_s", "dinov2_l"), ("f2f", "eva02_b", "teacher_dinov2_l")]
)
def test_one_row_of_each_family_in_the_smoke_profile(
    family: str,
    gkd: str,
    other: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path / "none"))
    rows = [part for method in (gkd, other) for part in ("--row", row_name("gtav", method))]
    command = ["reproduce", family, *rows, "--profile", "smoke", "--out", str(tmp_path / "out")]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "| ours / published (difference) | cityscapes | bdd100k | mapillary | mean |" in printed
    assert "| published, not run here | backbone | crop | cityscapes | bdd100k | mapillary | mean | source |" in printed
    record = json.loads((tmp_path / "out/tables.json").read_text())
    assert {rival["title"] for rival in record["gtav"]["rivals"]} >= {"Rein", "MFuser"}
    assert [row["method"] for row in record["gtav"]["rows"]] == [gkd, other]
    scores = record["gtav"]["rows"][1]["scores"]
    assert scores["cityscapes"]["published"] == 63.3
    ours = [scores[domain]["ours"] for domain in ("cityscapes", "bdd100k", "mapillary")]
    assert scores["mean"]["ours"] == pytest.approx(sum(ours) / 3, abs=0.02)
    stages = sorted(path.name for path in (tmp_path / "out/stages").iterdir())
    assert len(stages) == 4
    assert main(command) == 0
    assert capsys.readouterr().out.count("finished before, skipped") == 4
