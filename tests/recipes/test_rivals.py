"""Rows of large networks with a few learned parameters: how they differ from the rows beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gkd_lightning.chain.execution import check_plan, run_stages
from gkd_lightning.chain.logger import read_metrics
from gkd_lightning.chain.plan import Plan, make_plan, with_parents
from gkd_lightning.recipes.recipe_reader import load_recipe
from tests.recipes.test_axes import TWO_STEPS, difference

LOW_RANK = {"rank": 16, "alpha": 16, "layers": ["qkv", "proj", "fc1", "fc2"]}


def added(tokens: int, rank: int, first_block: int) -> dict[str, dict[str, Any]]:
    """What a row sets; the head has as many queries as there are tokens."""
    return {
        "rein": {"refinement": {"tokens": tokens, "rank": rank, "linked": True}},
        "low_rank": {"low_rank": LOW_RANK},
        "soma": {
            "low_rank": {**LOW_RANK, "start": "minor", "first_block": first_block},
            "weight_decay_end": 1e-5,
        },
    }


ADDED = {"minicity/rivals": added(16, 8, 1), "rivals/gtav": added(100, 16, 8)}
ROWS = {
    "minicity/rivals": {"gkd": ["rein", "low_rank", "soma"], "teacher": ["rein", "soma"]},
    "rivals/gtav": {"deit_b": ["rein", "low_rank"], "dinov2_l": ["rein", "soma"]},
}
TRAINED = ("teacher_rein", "teacher_soma")


def planned(name: str, folder: Path, *settings: tuple[str, Any]) -> Plan:
    return make_plan(load_recipe(name), folder, list(settings))


@pytest.mark.parametrize("name", ROWS)
def test_rows_differ_in_what_is_added_to_the_encoder(name: str, tmp_path: Path) -> None:
    plan = planned(name, tmp_path)
    runs = {run.method.id: run for run in plan.runs if run.seed == plan.runs[0].seed}
    for base, ways in ROWS[name].items():
        usual = runs.pop(base)
        for way in ways:
            row = runs.pop(f"{base}_{way}")
            *before, task = row.stages
            assert [stage.hash for stage in before] == [stage.hash for stage in usual.stages[:-1]]  # trained once
            assert row.method.role == usual.method.role == ("method" if "task_agnostic" in str(before) else "teacher")
            arguments = task.config["model"]["init_args"]
            own = ADDED[name][way]
            assert {key: arguments[key] for key in own} == own
            keys = {key.split(".")[3] for key in difference(task.config, usual.stages[-1].config)}
            assert keys <= {*own, "encoder_lr_scale"}
    assert set(runs) <= {"none"}


@pytest.mark.parametrize("name", ROWS)
def test_every_configuration_is_understood(name: str, tmp_path: Path) -> None:
    check_plan(planned(name, tmp_path))


def test_full_scale_rows_have_the_published_setting(tmp_path: Path) -> None:
    """Rein, section 4.1: 40,000 steps of four crops of 512 pixels, 1e-4 for head and tokens; SoMA's additions: half."""
    for run in planned("rivals/gtav", tmp_path).runs:
        task = run.stages[-1].config
        arguments, data = task["model"]["init_args"], task["data"]["init_args"]
        assert (task["trainer"]["max_steps"], data["batch_size"], data["image_size"]) == (40000, 4, 512)
        inside = 5e-5 if run.method.id == "dinov2_l_soma" else 1e-4
        assert arguments["lr"] * arguments.get("encoder_lr_scale", 1.0) == inside
        assert "head" not in arguments  # the official Mask2Former
        assert "rivals" not in run.method.id


@pytest.mark.slow
def test_rows_of_minicity_train_two_steps(tmp_path: Path) -> None:
    plan = planned("minicity/rivals", tmp_path, *TWO_STEPS.items(), ("trainer.precision", "32-true"))
    wanted = [run.stages[-1] for run in plan.runs if run.method.id in TRAINED and run.seed == 0]
    run_stages(replace(plan, stages=tuple(with_parents(wanted))))
    for stage in wanted:
        assert stage.state() == "done"
        assert "val/val/miou" in read_metrics(stage.directory / "metrics.jsonl")[-1]
