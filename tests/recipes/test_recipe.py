"""Recipes: what is read, what is refused, and how `extends` and settings change them."""

from pathlib import Path

import pytest

from gkd_lightning.chain.plan import make_plan
from gkd_lightning.errors import UserError
from gkd_lightning.recipes.recipe import parse_setting
from gkd_lightning.recipes.recipe_reader import load_recipe

RECIPE = """
name: tiny
title: A tiny study
seeds: [0, 1]
common: {configs: [base.yaml]}
methods:
  gkd:
    title: GKD
    stages:
      - &first {name: task_agnostic, configs: [model.yaml], set: {model.alpha: 2}}
      - {name: task, configs: [task.yaml]}
  mse:
    stages:
      - *first
      - {name: task, configs: [task.yaml], set: {model.lr: 0.1}}
  none:
    role: none
    stages: [{name: task, configs: [task.yaml]}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text("trainer: {max_steps: 5}\n")
    (tmp_path / "model.yaml").write_text("model: {class_path: D, init_args: {student: {name: s}}}\n")
    (tmp_path / "task.yaml").write_text("model: {class_path: T, init_args: {encoder: {name: s}}}\n")
    (tmp_path / "tiny.yaml").write_text(RECIPE)
    return tmp_path


def read(folder: Path, text: str) -> Path:
    path = folder / "changed.yaml"
    path.write_text(text)
    return path


def test_shared_stages_appear_once(folder: Path) -> None:
    plan = make_plan(load_recipe(str(folder / "tiny.yaml")), folder / "out")
    assert len(plan.runs) == 6
    assert [stage.name for stage in plan.stages[:4]] == ["task_agnostic", "task", "task", "task"]
    assert len(plan.stages) == 8
    assert plan.stages[0].users == ["gkd", "mse"]
    assert plan.stages[0].config["model"]["init_args"]["alpha"] == 2
    assert plan.stages[1].config["model"]["init_args"]["encoder"]["weights"] == f"artefact:{plan.stages[0].hash}"
    assert plan.stages[0].directory.name == f"task_agnostic-{plan.stages[0].hash[:12]}"
    assert [stage.name for stage in plan.runs[0].chain] == ["task_agnostic", "task"]


def test_a_key_into_a_file_goes_where_an_artefact_takes_its_place(folder: Path) -> None:
    encoder = "{name: s, weights: published.pth, weights_key: teacher}"
    (folder / "task.yaml").write_text(f"model: {{class_path: T, init_args: {{encoder: {encoder}}}}}\n")
    plan = make_plan(load_recipe(str(folder / "tiny.yaml")), folder / "out", seeds=[0])
    found = {run.method.id: run.stages[-1].config["model"]["init_args"]["encoder"] for run in plan.runs}
    assert found["none"] == {"name": "s", "weights": "published.pth", "weights_key": "teacher"}
    assert found["mse"]["weights"].startswith("artefact:")
    assert found["mse"]["weights_key"] is None


def test_an_earlier_stage_changes_the_hash_of_the_later_ones_only(folder: Path) -> None:
    recipe = load_recipe(str(folder / "tiny.yaml"))
    before = make_plan(recipe, folder).stages
    early = make_plan(recipe, folder, [("task_agnostic:model.alpha", 3)]).stages
    late = make_plan(recipe, folder, [("task:model.lr", 3)]).stages
    assert early[0].hash != before[0].hash
    assert early[1].hash != before[1].hash
    assert early[3].hash == before[3].hash  # `none` has no earlier stage
    assert late[0].hash == before[0].hash
    assert late[1].hash != before[1].hash


def test_settings_win_over_the_stage_and_seeds_can_be_chosen(folder: Path) -> None:
    recipe = load_recipe(str(folder / "tiny.yaml"))
    plan = make_plan(recipe, folder, [parse_setting("model.alpha=1e-3"), ("evaluate:data.batch_size", 2)], seeds=[7])
    assert {stage.seed for stage in plan.stages} == {7}
    assert all(stage.config["model"]["init_args"]["alpha"] == 1e-3 for stage in plan.stages)
    assert all(stage.config["seed_everything"] == 7 for stage in plan.stages)
    assert plan.evaluation == {"data": {"batch_size": 2}}


def test_extends_merges_methods_and_overrides_stages(folder: Path) -> None:
    path = read(
        folder, "extends: tiny.yaml\nname: quick\nseeds: [3]\nmethods: {mse: }\nset: {task:trainer.max_steps: 1}"
    )
    recipe = load_recipe(str(path))
    assert [method.id for method in recipe.methods] == ["gkd", "none"]
    stages = make_plan(recipe, folder).stages
    assert [stage.config["trainer"]["max_steps"] for stage in stages] == [5, 1, 1]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("metods: {}", "metods: unknown key, did you mean 'methods'"),
        ("methods: {}", "methods: expected at least one method"),
        (
            RECIPE.replace("stages:\n      - &first", "stagez:\n      - &first"),
            r"methods\.gkd\.stagez: unknown",
        ),
        (RECIPE.replace("[0, 1]", "0"), "seeds: expected a list of whole numbers"),
        (RECIPE.replace("{name: task, configs: [task.yaml]}\n  mse", "{configs: [task.yaml]}\n  mse"), "is missing"),
        (RECIPE.replace("set: {model.lr: 0.1}", "from: task_agnostc"), "did you mean 'task_agnostic'"),
        (RECIPE.replace("role: none", "role: nothing"), "'nothing' is not one of method, none"),
        (RECIPE.replace("name: tiny", "name: ../tiny"), "names a folder"),
        (RECIPE.replace("[base.yaml]", "base.yaml"), r"common\.configs: expected a list"),
        (RECIPE + "set: {taks:model.lr: 1}", "no stage is named 'taks', did you mean 'task'"),
        (RECIPE + "highlight: gdk", "'gdk' is no method, did you mean 'gkd'"),
        ("extends: changed.yaml", "extends itself"),
        ("- a", "expected keys and values at the top"),
        ("a: [", "line 1"),
    ],
)
def test_mistakes_name_the_file_and_the_key(folder: Path, text: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        load_recipe(str(read(folder, text)))
    assert "\n" not in str(caught.value)


def test_a_setting_needs_a_key() -> None:
    with pytest.raises(UserError, match="expected key=value"):
        parse_setting("model.alpha")
    with pytest.raises(UserError, match="not YAML"):
        parse_setting("model.alpha=[")
    assert parse_setting("model.attention_scale=None") == parse_setting("model.attention_scale=null")


BENCHMARK = """
extends: tiny.yaml
name: benchmark
common: {stages: {task: [source.yaml]}}
basis: {source: derived, why: the authors have none}
published_in: Table 1
published: {gkd: {night: 40, mean: 41.5}}
methods: {mse: {basis: {source: official, why: they have it}}}
"""


def test_fragments_by_stage_lie_over_the_stage_s_own(folder: Path) -> None:
    (folder / "source.yaml").write_text("data: {class_path: S}\ntrainer: {max_steps: 7}\n")
    before = make_plan(load_recipe(str(folder / "tiny.yaml")), folder / "out")
    plan = make_plan(load_recipe(str(read(folder, BENCHMARK))), folder / "out")
    assert plan.stages[0].hash == before.stages[0].hash  # so a stage that the overlay leaves alone is shared
    assert plan.stages[1].config["data"] == {"class_path": "S"}
    assert plan.stages[1].config["trainer"]["max_steps"] == 7


def test_published_numbers_and_their_basis(folder: Path) -> None:
    (folder / "source.yaml").write_text("{}\n")
    recipe = load_recipe(str(read(folder, BENCHMARK)))
    gkd, mse, none = recipe.methods
    assert (gkd.published, none.published, recipe.published_in) == ({"night": 40.0, "mean": 41.5}, {}, "Table 1")
    assert [method.basis.source for method in (gkd, mse, none) if method.basis] == ["derived", "official", "derived"]
    (folder / "child.yaml").write_text("extends: changed.yaml\nname: child\n")
    child = load_recipe(str(folder / "child.yaml"))
    assert (child.methods[0].published, child.methods[0].basis, child.published_in) == ({}, None, "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("stages: {task:", "stages: {tsak:"),
            r"common.stages.tsak: no method has such a stage, did you mean 'task'\?",
        ),
        (("gkd: {night", "gdk: {night"), r"published.gdk: 'gdk' is no method, did you mean 'gkd'\?"),
        (("night: 40", "night: high"), r"published.gkd.night: expected a number, found 'high'"),
        (("source: derived", "source: guessed"), "basis.source: 'guessed' is not official or derived"),
        ((", why: the authors have none", ""), "basis.why: is missing"),
    ],
)
def test_mistakes_in_a_benchmark(folder: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_recipe(str(read(folder, BENCHMARK.replace(*change))))


def test_single_rows_and_a_shared_store(folder: Path) -> None:
    recipe = load_recipe(str(folder / "tiny.yaml"))
    plan = make_plan(recipe, folder / "out", methods=["none"], store=folder / "store")
    assert [run.method.id for run in plan.runs] == ["none", "none"]
    assert {stage.directory.parent for stage in plan.stages} == {folder / "store"}
    with pytest.raises(UserError, match=r"no method 'nun', did you mean 'none'\? \(methods: gkd, mse, none\)"):
        make_plan(recipe, folder / "out", methods=["nun"])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("name: task_agnostic", "name: ../../evil", r"methods.gkd.stages\[0\].name: '../../evil' names a folder"),
        ("name: task_agnostic", 'name: "a\\n#SBATCH -x"', r"stages\[0\].name: .* names a folder: letters, digits"),
        ("  mse:", "  a/b:", r"methods.a/b: 'a/b' names a folder"),
        ("name: tiny", "name: ..", r"name: '..' names a folder"),
        ("seeds: [0, 1]", "seeds: [0, 1, 0]", r"seeds: one of them is there twice"),
    ],
)
def test_names_that_become_folders_and_seeds_that_repeat(folder: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        load_recipe(str(read(folder, RECIPE.replace(old, new))))


def test_anchors_without_bounds(folder: Path) -> None:
    bomb = "a0: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    for text in (bomb, "a: &a [*a]\n"):
        with pytest.raises(
            UserError, match="its anchors make more than 1,000,000 values of it, or one that holds itself"
        ):
            load_recipe(str(read(folder, text)))
    with pytest.raises(UserError, match="the value is not YAML"):
        parse_setting("a=[&a [*a]]")
