"""The paper's ablation at its scale: eight rows that differ from GKD as they should, published means beside ours."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gkd_lightning.chain.plan import Plan, PlannedRun, make_plan
from gkd_lightning.cli import main
from gkd_lightning.recipes.benchmark import load_benchmark, load_profile
from gkd_lightning.recipes.fragments import get_value
from gkd_lightning.recipes.recipe_reader import load_recipe, shipped_recipes

PUBLISHED = {
    "single_stage": 46.4, "single_stage_qsd": 48.8, "source_only": 50.9, "mse": 53.1,
    "qsd": 53.4, "no_mask": 53.5, "no_cls": 54.0, "gkd": 54.1,
}  # fmt: skip
"""Means over Cityscapes, BDD100K and Mapillary (arXiv 2603.02554)."""
TERMS = {
    "source_only": ("projection", 1, 0, 0), "mse": ("projection", 1, 0, 0), "qsd": ("qsd", 1, 0, 0),
    "no_mask": ("qsd", 1, 0, 1), "no_cls": ("qsd", 1, 1, 0), "gkd": ("qsd", 1, 1, 1),
}  # fmt: skip
"""Alignment, alpha, beta and gamma of the rows that distil first."""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("GKD_DATA", str(tmp_path))
    return make_plan(load_recipe("ablation/gtav"), tmp_path / "out")


def run_of(plan: Plan, method: str) -> PlannedRun:
    return next(run for run in plan.runs if run.method.id == method)


def test_published_means(plan: Plan) -> None:
    assert {run.method.id: run.method.published for run in plan.runs} == {
        name: {"mean": mean} for name, mean in PUBLISHED.items()
    }
    sources = {run.method.id: run.method.basis.source for run in plan.runs if run.method.basis}
    assert sources == {name: "official" if name == "gkd" else "derived" for name in PUBLISHED}


def test_two_stage_rows_differ_in_terms_and_images_alone(plan: Plan) -> None:
    keys = ("model.alignment", "model.alpha", "model.beta", "model.gamma")
    for method, terms in TERMS.items():
        *distilled, task = run_of(plan, method).stages
        assert [stage.name for stage in distilled] == ["task_agnostic", "domain_agnostic"][method == "source_only" :]
        for stage in distilled:
            assert tuple(get_value(stage.config, key) for key in keys) == terms, stage.title
            assert stage.config["data"] == _same(plan, stage.name)["data"]
        frozen = {key: value for key, value in task.config["model"]["init_args"].items() if key != "encoder"}
        assert frozen == {k: v for k, v in _same(plan, "task")["model"]["init_args"].items() if k != "encoder"}
    (first, _) = run_of(plan, "source_only").stages
    assert get_value(first.config, "model.student.weights") == "timm:deit_small_distilled_patch16_224.fb_in1k"


def _same(plan: Plan, name: str) -> dict[str, dict[str, dict[str, object]]]:
    return next(stage.config for stage in run_of(plan, "gkd").stages if stage.name == name)


def test_single_stage_rows_train_the_encoder_on_the_source(plan: Plan) -> None:
    for method, alignment in (("single_stage", None), ("single_stage_qsd", "qsd")):
        (joint,) = run_of(plan, method).stages
        assert get_value(joint.config, "model.term.alignment") == alignment  # None: the class's own, a projection
        assert get_value(joint.config, "model.freeze_encoder") is False
        assert get_value(joint.config, "model.encoder_lr_scale") == 0.1
        assert (get_value(joint.config, "model.lr"), get_value(joint.config, "trainer.max_steps")) == (1e-4, 40_000)
        assert joint.config["data"] == _same(plan, "task")["data"]
        for who in ("encoder", "teacher"):
            assert get_value(joint.config, f"model.{who}.image_size") == 512
            assert get_value(joint.config, f"model.{who}.patch_size") == 16


def test_gkd_is_the_benchmarks_row(plan: Plan, tmp_path: Path) -> None:
    benchmark = make_plan(load_recipe("f2l/gtav"), tmp_path / "out", methods=["deit_s"])
    assert [stage.hash for stage in run_of(plan, "gkd").stages] == [stage.hash for stage in benchmark.stages]
    assert plan.evaluation == benchmark.evaluation


def test_a_profile_says_nothing_of_stages_that_nobody_has() -> None:
    recipes = [load_recipe(name) for name in shipped_recipes() if name.startswith(("f2l/", "f2f/", "ablation/"))]
    stages = {name for recipe in recipes for name in recipe.stage_names} | {"evaluate"}
    for name in ("smoke", "short"):
        profile = load_profile(name)
        scopes = {text.partition("=")[0].rpartition(":")[0] for text in profile.settings} - {""}
        assert scopes <= stages
        (part,) = load_benchmark("f2l", ["deit-s-gtav"])
        kept = profile.settings_for(part.recipe)
        assert set(profile.settings) - set(kept) == {text for text in profile.settings if text.startswith("joint:")}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rows_of_one_stage_and_of_three_in_the_smoke_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path / "none"))
    chosen = {row: PUBLISHED[row] for row in ("single_stage_qsd", "no_mask")}
    options = [f"--row={row.replace('_', '-')}-gtav" for row in chosen]
    assert main(["reproduce", "ablation", *options, "--profile", "smoke", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "| ours / published (difference) | cityscapes | bdd100k | mapillary | mean |" in printed
    rows = json.loads((tmp_path / "out/tables.json").read_text())["gtav"]["rows"]
    assert {row["method"]: row["scores"]["mean"]["published"] for row in rows} == chosen
    titles = {method.id: method.title for method in load_recipe("ablation/gtav").methods}
    for row in rows:
        (line,) = [line for line in printed.splitlines() if line.startswith(f"| {titles[row['method']]} |")]
        assert re.search(rf"\| [\d.]+ / {PUBLISHED[row['method']]} \([−+][\d.]+\) \|$", line), line  # the mean
        assert row["scores"]["cityscapes"]["published"] is None  # means alone are published
