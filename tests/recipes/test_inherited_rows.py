"""Rows that follow from other rows: `keep`, `like`, and settings of one row."""

from __future__ import annotations

from pathlib import Path

import pytest

from gkd_lightning.chain.plan import Plan, make_plan
from gkd_lightning.errors import UserError
from gkd_lightning.recipes.fragments import get_value
from gkd_lightning.recipes.recipe_reader import load_recipe

BASE = """
name: base
common:
  set: {task:trainer.max_steps: 5, joint:trainer.max_steps: 9}
  stages: {joint: [more.yaml]}
set: {joint:trainer.devices: 1}
methods:
  gkd:
    title: GKD
    role: teacher
    stages:
      - {name: first, configs: [model.yaml], set: {model.alpha: 2}}
      - {name: task, configs: [task.yaml]}
  joint:
    stages: [{name: joint, configs: [task.yaml]}]
"""
AXIS = """
extends: base.yaml
name: axis
keep: [gkd]
methods:
  half: {title: Half, like: gkd, set: {first:model.alpha: 0.5, trainer.devices: 2}}
  other: {like: half, set: {model.yaml: other.yaml, first:model.beta: 1}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {
        "model.yaml": "model: {class_path: D, init_args: {student: {name: s}}}",
        "other.yaml": "model: {class_path: E, init_args: {student: {name: s}}}",
        "more.yaml": "data: {class_path: S}",
        "task.yaml": "model: {class_path: T, init_args: {encoder: {name: s}}}",
        "base.yaml": BASE,
        "axis.yaml": AXIS,
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def planned(folder: Path, text: str = AXIS, **settings: object) -> Plan:
    (folder / "axis.yaml").write_text(text)
    return make_plan(load_recipe(str(folder / "axis.yaml")), folder / "out", list(settings.items()))


def test_a_row_like_another_has_its_stages_under_its_own_settings(folder: Path) -> None:
    plan = planned(folder)
    assert [run.method.id for run in plan.runs] == ["gkd", "half", "other"]
    assert [run.method.title for run in plan.runs] == ["GKD", "Half", "other"]
    assert [run.method.role for run in plan.runs] == ["teacher", "method", "method"]  # what a row stands for is its own
    first = [run.stages[0].config for run in plan.runs]
    assert [get_value(config, "model.alpha") for config in first] == [2, 0.5, 0.5]
    assert [config["model"]["class_path"] for config in first] == ["D", "D", "E"]
    assert [get_value(config, "model.beta") for config in first] == [None, None, 1]
    assert [get_value(run.stages[1].config, "trainer.devices") for run in plan.runs] == [None, 2, 2]
    usual = make_plan(load_recipe(str(folder / "base.yaml")), folder, methods=["gkd"])
    assert [stage.hash for stage in plan.runs[0].stages] == [stage.hash for stage in usual.stages]


def test_a_row_may_be_like_one_that_is_not_kept(folder: Path) -> None:
    plan = planned(folder, AXIS.replace("[gkd]", "[]"))
    assert [run.method.id for run in plan.runs] == ["half", "other"]
    assert [stage.name for stage in plan.runs[0].stages] == ["first", "task"]


def test_what_is_said_of_lost_stages_is_forgotten(folder: Path) -> None:
    recipe = load_recipe(str(folder / "axis.yaml"))
    assert recipe.stage_names == ["first", "task"]
    assert (recipe.common_set, recipe.overrides, recipe.common_stages) == ({"task:trainer.max_steps": 5}, {}, {})
    with pytest.raises(UserError, match="no stage is named 'joint'"):  # but not what the recipe says itself
        load_recipe(str(_written(folder, AXIS + "set: {joint:trainer.devices: 1}")))
    again = load_recipe(str(_written(folder, AXIS + "  alone: {stages: [{name: joint, configs: [task.yaml]}]}")))
    assert again.common_set["joint:trainer.max_steps"] == 9  # a new row has such a stage


def _written(folder: Path, text: str) -> Path:
    (folder / "axis.yaml").write_text(text)
    return folder / "axis.yaml"


def test_the_command_line_comes_last(folder: Path) -> None:
    plan = planned(folder, **{"first:model.alpha": 7})
    assert [get_value(run.stages[0].config, "model.alpha") for run in plan.runs] == [7, 7, 7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[gkd]", "[gdk]"), "axis.yaml: keep: 'gdk' is no row of what is extended, did you mean 'gkd'"),
        (("[gkd]", "gkd"), "axis.yaml: keep: expected a list of rows"),
        (("extends: base.yaml\n", ""), "axis.yaml: keep: names rows of the recipe that is extended, and none is"),
        (("like: gkd", "like: gdk"), "methods.half.like: 'gdk' is no row, did you mean 'gkd'"),
        (("like: gkd", "like: other"), "methods.other.like: the row would be like itself|half.like: the row would be"),
        (("like: gkd", "like: half"), "methods.half.like: the row would be like itself"),
        (("like: gkd", "stages: [], like: gkd"), "methods.half.like: the row has stages of its own"),
        (("{first:model.alpha: 0.5, trainer.devices: 2}", "[1]"), "methods.half.set: expected keys and values"),
        (("first:model.alpha: 0.5", "frist:model.alpha: 0.5"), "no stage is named 'frist', did you mean 'first'"),
        (("first:model.alpha: 0.5", "evaluate:data.x: 1"), "half.set.evaluate:data.x: all rows are judged alike"),
        (("{model.yaml:", "{modell.yaml:"), r"axis.yaml: methods.other.set.modell.yaml: not used .*'model.yaml'"),
    ],
)
def test_mistakes(folder: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        planned(folder, AXIS.replace(*change))
