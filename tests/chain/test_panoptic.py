"""A chain whose head learns segments: judged by panoptic quality, in every table, and refused where it cannot be."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gkd_lightning.chain.data_changes import training_data
from gkd_lightning.chain.execution import check_plan, run_stages
from gkd_lightning.chain.judging.plan_report import report_plan
from gkd_lightning.chain.plan import Plan, make_plan
from gkd_lightning.chain.required_data import data_needed, require_data
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import Results
from gkd_lightning.recipes.recipe_reader import load_recipe
from gkd_lightning.report import Gallery
from tests.chain.studies import write_study

SEGMENTS = "task:model.head.segments"
SHAPES = {"class_path": "gkd_lightning.data.MiniCityLabelledShapes", "init_args": {"size": 8}}


def planned(folder: Path, *settings: tuple[str, Any]) -> Plan:
    return make_plan(load_recipe(str(write_study(folder))), folder / "out", settings, methods=["none"])


@pytest.mark.slow
def test_judged_reported_and_kept_apart_from_semantic_rows(tmp_path: Path) -> None:
    extra = """
  panoptic:
    title: Panoptic
    stages:
      - name: task
        configs: [task.yaml, source.yaml]
        set: {data.view: segmentation, model.freeze_encoder: false, model.head.segments: panoptic,
              model.head.score_threshold: 0.0, model.head.overlap_threshold: 0.0}
"""
    recipe = write_study(tmp_path)
    recipe.write_text(recipe.read_text().replace("evaluate:", extra.strip("\n") + "\nevaluate:"))
    short = [("task:trainer.max_steps", 2), ("task:data.num_workers", 0)]
    plan = make_plan(load_recipe(str(recipe)), tmp_path / "out", short, methods=["none", "panoptic"])
    assert [stage.what.panoptic for stage in plan.stages] == [False, True]
    run_stages(plan)
    report = report_plan(plan)
    results = Results.load(tmp_path / "out")
    none, panoptic = results.runs
    assert all(score.panoptic is None for score in none.domains)
    found = [score.panoptic for score in panoptic.domains]
    assert [score.domain for score in panoptic.domains] == ["game", "night"]
    assert all(each is not None and sum(each.missed) > 0 for each in found)

    with (tmp_path / "out/results.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["pq"] == "" for row in rows] == [True, True, False, False]
    summary, page = (tmp_path / "out/summary.md").read_text(), report.read_text()
    assert "Panoptic quality (PQ) in percent:" in summary
    quality = next(
        line for line in summary.split("Panoptic quality")[1].splitlines() if line.startswith("| Panoptic |")
    )
    assert f"| {panoptic.domains[1].pq:.1f} |" in quality
    assert "| No distillation | – |" in summary
    assert "<h3>Segments</h3>" in page
    assert "A white line parts two segments" in page
    record = json.loads((plan.stages[1].artefact().with_suffix(".json")).read_text())
    assert record["things"] == ["car", "person"]
    pictures = [Gallery.load(path) for path in sorted((tmp_path / "out/evaluations").glob("*/gallery.npz"))]
    shown = {next(iter(sample.predictions)): sample for gallery in pictures for sample in gallery.samples}
    assert shown["none"].predictions["none"].dtype == shown["none"].truth.dtype == np.uint8
    assert shown["panoptic"].predictions["panoptic"].dtype == shown["panoptic"].truth.dtype == np.int32
    assert shown["panoptic"].truth.max() > 255  # a thing of its own
    stuff = shown["panoptic"].truth < 256
    assert np.array_equal(shown["panoptic"].truth[stuff], shown["none"].truth[stuff])
    evaluations = sorted((tmp_path / "out/evaluations").iterdir())
    report_plan(plan)  # judged already
    assert sorted((tmp_path / "out/evaluations").iterdir()) == evaluations


def test_a_report_without_segments_says_nothing_of_them(tmp_path: Path) -> None:
    from gkd_lightning.report.html_report import render_report
    from gkd_lightning.report.summary import summary
    from tests.evaluate.builders import gallery, results

    assert "anoptic" not in summary(results())
    assert "anoptic" not in render_report(results())
    assert "parts two segments" not in render_report(results(), gallery())
    assert "pq" not in results().to_csv().splitlines()[0].split(",")


def test_instances_belong_to_the_training_data_of_a_panoptic_stage_alone(tmp_path: Path) -> None:
    (semantic,) = planned(tmp_path).stages
    (panoptic,) = planned(tmp_path, (SEGMENTS, "panoptic")).stages
    assert semantic.hash != panoptic.hash
    assert training_data(semantic) != training_data(panoptic)
    assert training_data(semantic) == training_data(planned(tmp_path, ("task:model.head.queries", 12)).stages[0])


def test_data_without_instances_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    plan = planned(tmp_path, (SEGMENTS, "panoptic"), ("task:data.dataset", SHAPES))
    with pytest.raises(UserError, match=r"data\.dataset: MiniCityLabelledShapes tells no instances apart"):
        require_data(data_needed([plan]))
    require_data(data_needed([planned(tmp_path, ("task:data.dataset", SHAPES))]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ([(SEGMENTS, "instances")], r"head\.segments: expected Literal\['semantic', 'panoptic'\], got instances"),
        ([("task:model.head.score_threshold", 1.5)], r"model\.head\.score_threshold: 1\.5; give a number"),
        (
            [("task:model.head", {"class_path": "gkd_lightning.segment.LinearHead",
                                  "init_args": {"segments": "panoptic"}})],
            r"model\.head\.segments: unknown key",
        ),
        (
            [("task:model.head", {"class_path": "gkd_lightning.segment.SegformerHead",
                                  "init_args": {"segments": "panoptic"}})],
            r"model\.head\.segments: unknown key",
        ),
    ],
)  # fmt: skip
def test_heads_without_queries_and_wrong_values_are_refused_by_the_plan(
    tmp_path: Path, settings: list[tuple[str, Any]], message: str
) -> None:
    with pytest.raises(UserError, match=message) as told:
        check_plan(planned(tmp_path, *settings))
    assert "\n" not in str(told.value)
