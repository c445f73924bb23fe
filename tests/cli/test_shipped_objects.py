"""What every shipped YAML describes is built, at tiny sizes; a key that nobody knows is refused in each of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonargparse
import lightning as L
import pytest

from gkd_lightning.chain.config_check import check_config
from gkd_lightning.chain.plan import Plan
from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.cli.study import Study
from gkd_lightning.data import TargetDataModule
from gkd_lightning.errors import UserError
from gkd_lightning.files import shipped_root
from gkd_lightning.recipes.benchmark import load_profile, read_profile
from gkd_lightning.recipes.datasets import datasets_of
from gkd_lightning.recipes.fragments import Config, Fragment, compose, set_value
from gkd_lightning.recipes.recipe_reader import load_recipe, shipped_recipes
from gkd_lightning.recipes.yaml_text import dump_yaml, interpolate, read_yaml
from gkd_lightning.segment import save_segmenter
from tests.cli.test_shipped import CONFIGS, fragments, on_top

ENCODER = """
name: vit_tiny_patch16_224
image_size: 64
patch_size: 16
options: {embed_dim: 48, depth: 4, num_heads: 3}
"""
HEAD = {
    "hidden_dim": 32, "encoder_layers": 1, "decoder_layers": 1, "heads": 4, "encoder_ffn": 32, "decoder_ffn": 32,
    "queries": 8, "points": 64,
}  # fmt: skip
KINDS = ("stage", "geometry", "trainer", "probe", "method", "data", "diagnostics")
FRAGMENTS = [name for kind in KINDS for name in fragments(kind)]
TARGETS = [name for name in fragments("data") if "TargetDataModule" in str(read_yaml(CONFIGS / name))]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GKD_DATA", str(tmp_path))
    monkeypatch.setenv("EFFICIENTNET_LITE2", str(tmp_path / "teacher.safetensors"))
    monkeypatch.chdir(shipped_root())


def surrounded(name: str, encoder: str) -> list[Fragment]:
    """The fragment among those that make a whole stage with it; `encoder` is the file of its encoders."""
    kind, method = name.split("/")[0], read_yaml(CONFIGS / name).get("model.class_path", "")
    distill: list[Fragment] = [{"model.teacher": encoder}, {"model.student": encoder}]
    proxy, source = "data/minicity_proxy.yaml", "data/minicity_source.yaml"
    labelled: list[Fragment] = ["data/segmentation_view.yaml", source, {"model.encoder": encoder}]
    if kind == "stage":
        data = proxy if "task_agnostic" in name else source
        return [name, *distill, data] if "agnostic" in name else [*on_top(name), name, *labelled]
    if kind == "data":
        if "proxy" in name:
            return ["stage/task_agnostic.yaml", *distill, name]
        beside = [source] if "segmentation_view" in name else []
        return ["stage/task.yaml", {"model.encoder": encoder}, "data/segmentation_view.yaml", *beside, name]
    if kind == "diagnostics":
        return ["stage/task_small.yaml", "stage/joint_small.yaml", *labelled, "method/feature_mse.yaml", name]
    if (kind == "geometry" and "task" in name) or "SingleStage" in method or "TaskLearning" in method:
        return ["stage/task_small.yaml", "stage/joint_small.yaml", *labelled, name]
    return ["stage/task_agnostic_small.yaml", *distill, proxy, name]


def composed(name: str, folder: Path) -> Config:
    (folder / "encoder.yaml").write_text(ENCODER)
    config = compose(surrounded(name, str(folder / "encoder.yaml")))
    if config["model"]["class_path"].endswith(("TaskLearning", "SingleStageDistillation")):
        set_value(config, "model.head", HEAD)
    inner = config["model"]["init_args"]
    if (inner.get("refinement") or {}).get("linked"):  # as many tokens as the small head has queries
        set_value(config, "model.refinement", {**inner["refinement"], "tokens": HEAD["queries"], "rank": 4})
    if (inner.get("low_rank") or {}).get("first_block"):  # of 24 blocks
        set_value(config, "model.low_rank.first_block", 1)
    if config["model"]["class_path"].endswith(("MaskedPretraining", "AgreementPretraining")):  # no class token
        set_value(config, "model.encoder.options.class_token", False)
        set_value(config, "model.encoder.options.global_pool", "avg")
    return config


def built(config: Config, folder: Path) -> StageCLI:
    """The stage's model, data and trainer, on the CPU and from random weights."""
    config = _without_files(config)
    trainer = config.setdefault("trainer", {})
    trainer |= {"accelerator": "cpu", "devices": 1, "default_root_dir": str(folder / "run")}
    path = folder / "stage.yaml"
    path.write_text(dump_yaml(config))
    stage = StageCLI(["--config", str(path)])
    assert isinstance(stage.model, L.LightningModule)
    assert isinstance(stage.datamodule, L.LightningDataModule)
    assert stage.trainer.precision == trainer.get("precision", "32-true")
    return stage


def _without_files(value: Any) -> Any:
    """Weights that would be downloaded or read are left out; a teacher that travels with the package stays."""
    if not isinstance(value, Mapping):
        return value
    return {
        key: None if key == "weights" and not str(inner).startswith("asset:") else _without_files(inner)
        for key, inner in value.items()
    }


def saved(stage: StageCLI, folder: Path) -> str:
    """The stage's segmenter as a file, for methods whose teacher has a head."""
    space = stage.datamodule.label_space
    return str(save_segmenter(stage.model.segmenter, folder, label_space=space, protocol={}, provenance={}))


def built_module(data: Any) -> TargetDataModule:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--data", type=L.LightningDataModule)
    module = parser.instantiate(parser.parse_object({"data": interpolate(data)}))["data"]
    assert isinstance(module, TargetDataModule)
    return module


def planned(name: str) -> Plan:
    """A recipe's plan, that of a benchmark in the smoke profile's sizes."""
    benchmark = not name.startswith(("minicity/", "camvid/", "several_teachers/"))
    tiny = load_profile("smoke").settings_for(load_recipe(name)) if benchmark else ()
    return Study(name, tiny, seeds="0").plan()


BUILT: set[str] = set()
"""The models, data modules and trainers that were built in this process, each as text: recipes share them."""


def parts(config: Config) -> list[str]:
    return [json.dumps({key: _without_files(value)}, sort_keys=True) for key, value in config.items()]


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_recipes())
def test_every_stage_of_every_recipe(name: str, tmp_path: Path) -> None:
    plan = planned(name)
    starts = {parent.hash for stage in plan.stages for key, parent in stage.inputs.items() if "segmenter" in key}
    segmenters: dict[str, str] = {}
    for stage in plan.stages:
        if stage.hash not in starts and BUILT.issuperset(parts(stage.config)):
            continue
        config = compose([], base=stage.config)
        for key, parent in stage.inputs.items():
            set_value(config, key, segmenters.get(parent.hash))
        objects = built(config, tmp_path)
        BUILT.update(parts(stage.config))
        if stage.hash in starts:
            segmenters[stage.hash] = saved(objects, tmp_path / stage.hash)
    if plan.evaluation:
        module = built_module(plan.evaluation["data"])
        assert set(module.domain_names) > set(module.seen)


@pytest.mark.parametrize("name", [name for name in FRAGMENTS if name not in TARGETS])
def test_every_fragment(name: str, tmp_path: Path) -> None:
    config = composed(name, tmp_path)
    if "SingleStage" in config["model"]["class_path"]:
        with_head = built(composed("stage/task_small.yaml", tmp_path), tmp_path)
        set_value(config, "model.teacher_segmenter", saved(with_head, tmp_path / "teacher"))
    stage = built(config, tmp_path)
    assert callable(stage.datamodule.dataset.image)


@pytest.mark.parametrize("name", TARGETS)
def test_every_evaluation(name: str) -> None:
    assert set(built_module(read_yaml(CONFIGS / name)["data"]).domain_names) == set(datasets_of(name))


def sections(name: str) -> list[str]:
    """Dotted keys below which the fragment says something."""
    found = []
    for key, value in read_yaml(CONFIGS / name).items():
        if "." not in key and isinstance(value, Mapping):
            found.append(key)
    return found or ["model"]


@pytest.mark.parametrize("name", FRAGMENTS)
def test_unknown_keys_of_fragments_fail(name: str, tmp_path: Path) -> None:
    for section in sections(name):
        config = composed(name, tmp_path) if name not in TARGETS else compose([name])
        set_value(config, f"{section}.no_such_key", 1)
        path = tmp_path / "misspelt.yaml"
        path.write_text(dump_yaml(config))
        with pytest.raises(UserError, match=rf"{section}.*no_such_key: unknown key"):
            check_config(path)


@pytest.mark.parametrize("name", [*fragments("teacher"), *fragments("student")])
def test_unknown_keys_of_encoders_fail(name: str, tmp_path: Path) -> None:
    encoder = tmp_path / "misspelt.yaml"
    encoder.write_text(dump_yaml({**read_yaml(CONFIGS / name), "no_such_key": 1}))
    path = tmp_path / "stage.yaml"
    path.write_text(dump_yaml(compose(surrounded("stage/task_agnostic.yaml", str(encoder)))))
    with pytest.raises(UserError, match=r"model\.(teacher|student)\.no_such_key: unknown key"):
        check_config(path)


@pytest.mark.parametrize("name", shipped_recipes())
def test_unknown_keys_of_recipes_fail(name: str, tmp_path: Path) -> None:
    path = shipped_recipes()[name]
    value = json.loads(json.dumps(read_yaml(path)))  # without aliases: each place its own
    if "extends" in value:
        value["extends"] = str(path.parent / value["extends"])
    places = ["", "common", "evaluate"]
    places += [f"methods.{method}" for method, found in (value.get("methods") or {}).items() if found]
    for place in places:
        changed = compose([], base=value)
        set_value(changed, f"{place}.no_such_key" if place else "no_such_key", 1)
        (tmp_path / "misspelt.yaml").write_text(dump_yaml(changed))
        with pytest.raises(UserError, match=rf"misspelt.yaml: {place}.*no_such_key: unknown key"):
            load_recipe(str(tmp_path / "misspelt.yaml"))


@pytest.mark.parametrize("name", fragments("profile"))
@pytest.mark.parametrize("place", ["", "fakes", "fakes.gtav"])
def test_unknown_keys_of_profiles_fail(name: str, place: str, tmp_path: Path) -> None:
    value = read_yaml(CONFIGS / name)
    set_value(value, f"{place}.no_such_key" if place else "no_such_key", 1)
    (tmp_path / "misspelt.yaml").write_text(dump_yaml(value))
    with pytest.raises(UserError, match=rf"misspelt.yaml: {place}.*no_such_key: unknown key"):
        read_profile(tmp_path / "misspelt.yaml")
