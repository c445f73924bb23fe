"""Every YAML that ships parses, and what it names can be built."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml

from gkd_lightning.chain.config_check import check_config
from gkd_lightning.chain.execution import check_plan
from gkd_lightning.chain.plan import make_plan
from gkd_lightning.distill import Teachers, TeacherSpec
from gkd_lightning.encoders import EncoderSpec, build_encoder
from gkd_lightning.files import shipped_root
from gkd_lightning.recipes.datasets import datasets_of
from gkd_lightning.recipes.fragments import compose, get_value
from gkd_lightning.recipes.recipe_reader import load_recipe, shipped_recipes
from gkd_lightning.recipes.yaml_text import dump_yaml, read_yaml

CONFIGS = shipped_root() / "configs"


def fragments(folder: str) -> list[str]:
    return [path.relative_to(CONFIGS).as_posix() for path in sorted((CONFIGS / folder).glob("*.yaml"))]


def on_top(name: str) -> list[str]:
    """The fragment below one that says something about a task stage, but not which model it is."""
    return [] if "class_path" in read_yaml(CONFIGS / name)["model"] else ["stage/task.yaml"]


def checked(tmp_path: Path, *parts: str | dict[str, str]) -> None:
    path = tmp_path / "composed.yaml"
    path.write_text(dump_yaml(compose(parts)))
    check_config(path)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, empty_data: Path) -> None:
    monkeypatch.setenv("GKD_DATA", str(empty_data))
    monkeypatch.setenv("EFFICIENTNET_LITE2", str(empty_data / "teacher.safetensors"))


def test_every_fragment_belongs_to_a_tested_folder() -> None:
    tested = {
        "teacher",
        "teachers",
        "student",
        "stage",
        "data",
        "trainer",
        "method",
        "head",
        "sweep",
        "geometry",
        "profile",
        "probe",
        "diagnostics",
        "rivals",  # tests/recipes/test_rival_numbers.py
    }
    assert {path.parent.name for path in CONFIGS.rglob("*.yaml")} == tested


@pytest.mark.parametrize("name", fragments("student"))  # teachers: tests/encoders/test_teachers.py
def test_encoders_build(name: str) -> None:
    spec = EncoderSpec(**{**read_yaml(CONFIGS / name), "weights": None})
    with torch.device("meta"):  # the large ones would take gigabytes
        encoder = build_encoder(spec)
    assert encoder.embed_dim > 0


@pytest.mark.parametrize("name", fragments("teachers"))
def test_several_teachers_build(name: str) -> None:
    config = compose(["stage/task_agnostic.yaml", name])
    assert get_value(config, "model.teacher", 1) is None  # the stage's geometry of a single one
    specs = get_value(config, "model.teachers")
    teachers = {
        key: TeacherSpec(**{**spec, "encoder": EncoderSpec(**{**spec["encoder"], "weights": None})})
        for key, spec in specs.items()
    }
    with torch.device("meta"):
        assert all(encoder.embed_dim > 0 for encoder in Teachers(teachers).encoders)


@pytest.mark.parametrize("name", ["student/deit_s", "student/dino_s", "student/eva02_ti"])
def test_published_files_fit_their_encoders(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys and shapes of timm's own files, without downloading them."""
    usual = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda model, pretrained=False, **rest: usual(model, **rest))
    encoder = build_encoder(EncoderSpec(**{**read_yaml(CONFIGS / f"{name}.yaml"), "image_size": 224}))
    assert encoder.image_size == (224, 224)


@pytest.mark.parametrize("name", fragments("stage"))
def test_stages_fit_their_classes(name: str, tmp_path: Path) -> None:
    source = "data/minicity_source.yaml"
    if "agnostic" in name:
        encoders: list[str | dict[str, str]] = [{"model.teacher": "teacher/dinov2_b.yaml"}]
        encoders.append({"model.student": "student/deit_s.yaml"})
        checked(tmp_path, name, *encoders, "data/minicity_proxy.yaml" if "task" in name else source)
    else:
        checked(
            tmp_path,
            *on_top(name),
            name,
            {"model.encoder": "student/deit_s.yaml"},
            "data/segmentation_view.yaml",
            source,
        )


@pytest.mark.parametrize("name", fragments("geometry"))
def test_geometries_fit_the_stages(name: str, tmp_path: Path) -> None:
    stage = "stage/task_small.yaml" if "task" in name else "stage/task_agnostic_small.yaml"
    keys = ["encoder"] if "task" in name else ["teacher", "student"]
    encoders = [{f"model.{key}": "student/vit_tiny.yaml"} for key in keys]
    data = (
        ["data/segmentation_view.yaml", "data/minicity_source.yaml"] if "task" in name else ["data/minicity_proxy.yaml"]
    )
    checked(tmp_path, stage, *encoders, *data, name)


@pytest.mark.parametrize("name", fragments("trainer"))
def test_trainers_fit_lightning(name: str, tmp_path: Path) -> None:
    base = ("stage/task.yaml", {"model.encoder": "student/deit_s.yaml"}, "data/minicity_source.yaml")
    checked(tmp_path, *base, name)


@pytest.mark.parametrize("name", fragments("probe"))
def test_probes_fit_a_stage_and_never_look_at_a_target(name: str, tmp_path: Path) -> None:
    encoders = [{"model.teacher": "teacher/minicity.yaml"}, {"model.student": "student/minicity_tiny.yaml"}]
    checked(tmp_path, "stage/task_agnostic_small.yaml", *encoders, "data/minicity_proxy.yaml", name)
    (probe,) = read_yaml(CONFIGS / name)["trainer"]["callbacks"]
    train, val = probe["init_args"]["train"]["init_args"], probe["init_args"]["val"]
    targets = read_yaml(CONFIGS / "data/minicity_targets.yaml")["data"]["init_args"]["domains"]
    held_out = val["game"]["init_args"]
    assert train["style"] == held_out["style"] == "game"
    assert abs(train["offset"] - held_out["offset"]) >= 200  # other streets
    assert not {item["init_args"]["style"] for item in val.values()} & (set(targets) - {"game"})
    assert all(item["init_args"]["offset"] != targets["game"]["init_args"]["offset"] for item in val.values())


@pytest.mark.parametrize("name", fragments("diagnostics"))
def test_diagnostics_fit_single_stage_training(name: str, tmp_path: Path) -> None:
    base = ["stage/task_small.yaml", "data/segmentation_view.yaml", "data/minicity_source.yaml"]
    encoders = [{"model.encoder": "student/minicity_tiny.yaml"}, {"model.teacher": "teacher/minicity.yaml"}]
    checked(tmp_path, *base, "stage/joint_small.yaml", *encoders, "method/feature_mse.yaml", name)


@pytest.mark.parametrize("name", fragments("method"))
def test_methods_fit_the_stages(name: str, tmp_path: Path) -> None:
    kind = read_yaml(CONFIGS / name).get("model.class_path", "")
    if "SingleStage" in kind or "TaskLearning" in kind:
        base: list[str | dict[str, str]] = ["stage/task.yaml", "stage/joint.yaml"]
        base += [{"model.encoder": "student/deit_s.yaml"}, "data/segmentation_view.yaml"]
        base += [] if "none" in name else [{"model.teacher": "teacher/dinov2_b.yaml"}]
    else:
        base = ["stage/domain_agnostic.yaml", {"model.teacher": "teacher/dinov2_b.yaml"}]
        base += [{"model.student": "student/deit_s.yaml"}]
    checked(tmp_path, *base, "data/minicity_source.yaml", name)


@pytest.mark.parametrize("name", fragments("head"))
@pytest.mark.parametrize("stage", ["stage/task.yaml", "stage/task_small.yaml"])
def test_heads_fit_stage_2(stage: str, name: str, tmp_path: Path) -> None:
    data = ["data/segmentation_view.yaml", "data/minicity_source.yaml"]
    checked(tmp_path, stage, {"model.encoder": "student/deit_s.yaml"}, *data, name)


@pytest.mark.parametrize("name", [name for name in fragments("data") if name != "data/segmentation_view.yaml"])
def test_data_sets_build(name: str) -> None:
    for dataset in datasets_of(name).values():
        assert callable(dataset.image)  # built, but no folder is scanned before its first use


@pytest.mark.parametrize("name", shipped_recipes())
def test_recipes_plan_and_every_stage_is_valid(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    plan = make_plan(recipe, tmp_path / "out")
    check_plan(plan)
    assert {run.method.id for run in plan.runs} == {method.id for method in recipe.methods}
    assert not (tmp_path / "out").exists()


def expansions(sweep: dict[str, Any]) -> list[dict[str, float]]:
    """Every trial of a grid; the corners of a range."""
    axes = {
        key: item["values"] if "values" in item else [item["min"], item["max"]]
        for key, item in sweep["parameters"].items()
    }
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


@pytest.mark.parametrize("name", fragments("sweep"))
def test_every_trial_of_a_sweep_is_a_command_that_parses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from gkd_lightning.chain.config_check import UnbuiltStage

    monkeypatch.chdir(shipped_root())
    sweep = yaml.safe_load((CONFIGS / name).read_text())
    assert sweep["method"] in name
    assert sweep["metric"] == {"name": "val/probe/miou", "goal": "maximize"}
    environment, program, verb, *options, arguments = sweep["command"]
    assert (environment, program, verb, arguments) == ("${env}", "gkd", "fit", "${args}")
    for trial in expansions(sweep):
        assert sum(trial.values()) > 0  # all weights 0 is refused
        stage = UnbuiltStage([*options, *(f"--{key}={value}" for key, value in trial.items())])
        for key, value in trial.items():
            assert stage.config[key.replace("model.", "model.init_args.")] == value
    assert stage.config["model.init_args.teacher.weights"] == "asset:minicity_teacher"
    assert stage.config["data.init_args.dataset.class_path"].endswith("MiniCityShapes")
    (probe,) = stage.config["trainer.callbacks"]
    assert {probe.init_args["val"][domain].init_args["style"] for domain in probe.init_args["val"]} == {"game", "val"}
