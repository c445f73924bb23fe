"""Stage 1b takes the source's images and nothing else: it trains where no label can be read, stage 2 does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gkd_lightning.chain.execution import run_stages
from gkd_lightning.chain.plan import Plan
from gkd_lightning.errors import UserError
from tests.chain.studies import plan_study, write_study


def plan_on_folder(folder: Path, stage: str) -> Plan:
    """One stage alone, on the images and labels in `folder`."""
    write_study(folder)
    recipe = folder / "one.yaml"
    configs, view = {
        "domain_agnostic": ("distill.yaml", "distillation"),
        "task": ("task.yaml", "segmentation"),
    }[stage]
    recipe.write_text(f"""
extends: study.yaml
name: one
methods:
  gkd:
    stages:
      - {{name: {stage}, configs: [{configs}, source.yaml], set: {{data.view: {view}}}}}
  none:
""")
    dataset = {
        "class_path": "gkd_lightning.data.FolderSegmentation",
        "init_args": {
            "images": str(folder / "images"),
            "labels": str(folder / "labels"),
            "classes": ["a", "b", "c", "d", "e", "f", "g", "h"],
        },
    }
    return plan_study(recipe, folder / "out", data__dataset=dataset, data__num_workers=0, trainer__max_steps=2)


@pytest.fixture
def unreadable(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for index in range(8):
        pixels = draw.integers(0, 256, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index}.png")
        (tmp_path / "labels" / f"{index}.png").write_bytes(b"no label can be read here")
    return tmp_path


def test_stage_1b_opens_no_label(unreadable: Path) -> None:
    plan = plan_on_folder(unreadable, "domain_agnostic")
    run_stages(plan)
    manifest = plan.stages[0].manifest()
    assert manifest is not None
    assert manifest["costs"]["steps"] == 2


def test_stage_2_does(unreadable: Path) -> None:
    with pytest.raises(UserError, match=r"labels/\d\.png: cannot be read as label"):
        run_stages(plan_on_folder(unreadable, "task"))
