"""Class paths of earlier versions are refused with the name that took their place."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from gkd_lightning.chain.config_check import check_config
from gkd_lightning.errors import UserError
from gkd_lightning.recipes.renamed_classes import present_class_path
from tests.chain.toys import CONFIG

PROBE = "gkd_lightning.chain.callbacks.ProbeStudent"


@pytest.mark.parametrize(
    "old",
    [
        "gkd_lightning.pipeline.callbacks.ProbeStudent",
        "gkd_lightning.pipeline.callbacks.probe.ProbeStudent",
        "gkd_lightning.pipeline.callbacks.GradientConflict",
        "gkd_lightning.pipeline.callbacks.conflict.GradientConflict",
        "gkd_lightning.pipeline.callbacks.Progress",
        "gkd_lightning.pipeline.evaluation.Evaluation",
        "gkd_lightning.pipeline.logger.RunLogger",
        "gkd_lightning.baselines.PreDistillation",
        "gkd_lightning.distill.module.DomainGeneralDistillation",
    ],
)
def test_the_new_name_is_there(old: str) -> None:
    new = present_class_path(old)
    assert new is not None
    module, name = new.rsplit(".", 1)
    assert isinstance(getattr(importlib.import_module(module), name), type)


@pytest.mark.parametrize(
    "path", [PROBE, "gkd_lightning.pipeline.callbacks", "gkd_lightning.data.ProxyImages", "mine.X"]
)
def test_other_names_are_left_alone(path: str) -> None:
    assert present_class_path(path) is None


@pytest.mark.parametrize("place", ["callbacks", "callbacks.probe"])
def test_a_configuration_that_holds_one_is_told_the_new_name(tmp_path: Path, place: str) -> None:
    old = f"gkd_lightning.pipeline.{place}.ProbeStudent"
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.replace("trainer: {", f"trainer: {{callbacks: [{{class_path: {old}}}], "))
    with pytest.raises(UserError) as caught:
        check_config(config)
    assert str(caught.value) == f"trainer.callbacks.class_path: {old} is now {PROBE}"


def test_an_old_model_is_told_the_new_name(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("model: {class_path: gkd_lightning.baselines.PreDistillation}\n")
    with pytest.raises(UserError) as caught:
        check_config(config)
    told = "gkd_lightning.baselines.PreDistillation is now gkd_lightning.distill.Distillation"
    assert str(caught.value) == f"model.class_path: {told}"
