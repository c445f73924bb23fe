"""The recipes that turn one thing at a time, on MiniCity: every row differs where its name says, and trains."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gkd_lightning.chain.execution import run_stages
from gkd_lightning.chain.logger import read_metrics
from gkd_lightning.chain.plan import Plan, make_plan, with_parents
from gkd_lightning.files import shipped
from gkd_lightning.recipes.fragments import Config
from gkd_lightning.recipes.recipe_reader import load_recipe, shipped_recipes
from gkd_lightning.recipes.yaml_text import read_yaml

AXES = [name for name in shipped_recipes() if name.startswith("minicity/axes/")]


def stage_head() -> list[str]:
    """Settings of the usual head, which another has not."""
    return list(read_yaml(shipped("configs/stage/task_small.yaml"))["model"]["init_args"]["head"])


TURNED = {
    "attention_scale": {"attention_scale"},
    "heads": {"num_heads"},
    "mask_probability": {"mask_probability"},
    "mask_ratio": {"mask_ratio"},
    "proxy": {"class_path", "size", "style"},
    "segmentation_head": {"blocks", "class_path", "dice", "doublings", "width", *stage_head()},
    "sizes": {"image_size"},
    "stage2_encoder": {"alpha", "encoder_lr_scale", "freeze_encoder", "last_blocks", "layers", "rank", "start"},
    "tokens": {"patch_size", "scales"},
    "variant": {"variant"},
    "weights": {"alpha", "beta", "gamma"},
}
"""Last parts of the keys in which an axis' rows differ from GKD."""
STRUCTURE = ("heads", "proxy", "segmentation_head", "sizes", "stage2_encoder", "tokens", "variant")
"""Axes whose rows are other networks or data; the others turn a number, which the tests of its module do, too."""
TWO_STEPS = {
    "trainer.max_steps": 2,
    "trainer.limit_train_batches": 2,
    "trainer.limit_val_batches": 1,
    "trainer.log_every_n_steps": 1,
    "data.batch_size": 4,
    "data.num_workers": 0,
    "task:trainer.check_val_every_n_epoch": 1,
    "task:data.val_batch_size": 2,
}


def leaves(value: Any, key: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {key: value}
    return {name: leaf for part, inner in value.items() for name, leaf in leaves(inner, f"{key}.{part}").items()}


def difference(one: Config, other: Config) -> set[str]:
    """Keys whose values differ, but those of the weights that a stage starts from."""
    first, second = leaves(one), leaves(other)
    keys = {key for key in first | second if first.get(key) != second.get(key)}
    return {key for key in keys if not key.endswith(".weights")}


def planned(name: str) -> Plan:
    return make_plan(load_recipe(name), Path("out"))


def test_every_axis_says_what_it_turns() -> None:
    assert {name.rpartition("/")[2] for name in AXES} == set(TURNED)


@pytest.mark.parametrize("name", AXES)
def test_rows_differ_from_gkd_in_the_axis_alone(name: str) -> None:
    plan = planned(name)
    usual, *rows = plan.runs
    assert (usual.method.id, usual.method.set, plan.recipe.highlight) == ("gkd", {}, "gkd")
    assert rows
    turned = set()
    for row in rows:
        assert [stage.name for stage in row.stages] == [stage.name for stage in usual.stages]
        found = set()
        for stage, other in zip(row.stages, usual.stages, strict=True):
            found |= {key.rpartition(".")[2] for key in difference(stage.config, other.config)}
        assert found
        assert found <= TURNED[name.rpartition("/")[2]], row.method.id
        turned |= found
    assert turned == TURNED[name.rpartition("/")[2]]
    assert len({run.stages[-1].hash for run in plan.runs}) == len(plan.runs)  # no row twice


@pytest.mark.parametrize("name", AXES)
def test_one_seed_judged_where_recipes_may_be_chosen(name: str) -> None:
    plan = planned(name)
    assert {run.seed for run in plan.runs} == {0}
    assert set(plan.evaluation["data"]["init_args"]["domains"]) == {"game", "val"}
    methods = make_plan(load_recipe("minicity/methods"), Path("out"), seeds=[0], methods=["gkd"])
    assert [stage.hash for stage in plan.runs[0].stages] == [stage.hash for stage in methods.stages]  # --store shares


@pytest.mark.slow
@pytest.mark.timeout(900)  # some twenty trainings
def test_rows_of_another_structure_train_two_steps_and_validate(tmp_path: Path) -> None:
    """1b, which repeats what 1a tries, and what another row has tried are left out, unless a later stage needs them."""
    tried: set[str] = set()
    for name in STRUCTURE:
        plan = make_plan(load_recipe(f"minicity/axes/{name}"), tmp_path, list(TWO_STEPS.items()))
        wanted = []
        for stage in plan.stages:
            settings = json.dumps(sorted((k, str(v)) for k, v in leaves(stage.config).items() if "weights" not in k))
            if settings not in tried and stage.name != "domain_agnostic":
                wanted.append(stage)
            tried.add(settings)
        assert wanted
        run_stages(replace(plan, stages=tuple(with_parents(wanted))))
        for stage in wanted:
            (last,) = read_metrics(stage.directory / "metrics.jsonl")[-1:]
            assert stage.state() == "done"
            assert ("val/val/miou" in last) == (stage.name == "task"), stage.title
