"""A step of every model of MiniCity's recipes under a card's autocast to bf16, without a card."""

from __future__ import annotations

import json
from pathlib import Path

import jsonargparse
import lightning as L
import pytest
import torch

from gkd_lightning.chain import make_plan
from gkd_lightning.chain.cost import _without_weights
from gkd_lightning.chain.stage import Stage
from gkd_lightning.recipes import interpolate, load_recipe
from tests.fake_card import fake_card, on_card

RECIPES = ["methods", "ideas", "two_teachers", "rivals", "panoptic", "second_teacher", "axes/segmentation_head"]


def models(recipe: str, out: Path) -> dict[str, int]:
    """Configurations of models that start from nothing, each with the side of its images."""
    found = {}
    for stage in make_plan(load_recipe(recipe), out, seeds=[0]).stages:
        if all(key.endswith(".weights") for key in stage.inputs):
            what = Stage.read(stage.what.config_with(dict.fromkeys(stage.inputs, "none")))
            found[json.dumps(interpolate(what.model), sort_keys=True)] = max(what.image_sizes)
    return found


@pytest.mark.parametrize("name", RECIPES)
def test_a_step(name: str, tmp_path: Path) -> None:
    found = models(f"minicity/{name}", tmp_path)
    assert found
    for config, size in found.items():
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_argument("--model", type=L.LightningModule)
        model = parser.instantiate(parser.parse_object({"model": _without_weights(json.loads(config))})).model
        with fake_card():
            on_card(model).train()
            if hasattr(model, "prepare"):
                model.prepare(bf16=True)
            loss = model.dry_step(torch.zeros(4, 3, size, size, dtype=torch.uint8, device="cuda"))
        assert (loss.shape, loss.device.type, loss.requires_grad) == ((), "cuda", True), config
