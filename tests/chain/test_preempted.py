"""A pre-empted stage goes on from the checkpoint that Lightning wrote for SLURM, and none of it outlives its use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from safetensors.torch import load_file

from gkd_lightning.chain.execution import run_stages, stages_from
from gkd_lightning.chain.plan import Plan, make_plan
from gkd_lightning.chain.resume import newest_checkpoint
from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.recipes.recipe_reader import load_recipe
from tests.chain.toys import CONFIG

RECIPE = "name: toy\ncommon: {configs: [toy.yaml]}\nmethods: {one: {stages: [{name: first}]}}\n"


class Announced(L.Callback):
    """Saves inside the eighth step, as Lightning does when SLURM's signal comes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "hpc_ckpt_1.ckpt"

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == 7:
            trainer.save_checkpoint(self.path)


def planned(folder: Path) -> Plan:
    return make_plan(load_recipe(str(folder / "recipe.yaml")), folder / "out")


@pytest.fixture
def preempted(tmp_path: Path) -> tuple[Plan, Path]:
    """A stage that was told to go in its 8th of 13 steps, with an older checkpoint of its own; the expected weights."""
    (tmp_path / "toy.yaml").write_text(CONFIG)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    plan = planned(tmp_path)
    run_stages(plan)
    folder = plan.stages[0].directory
    (folder / "student.safetensors").rename(tmp_path / "expected.safetensors")
    (folder / "done.json").unlink()
    arguments = ["--config", str(folder / "stage.yaml"), "--trainer.default_root_dir", str(tmp_path / "part")]
    stage = StageCLI([*arguments, "--trainer.max_steps", "8"])
    stage.trainer.callbacks.insert(0, Announced(folder))
    stage.run()
    (tmp_path / "part/resume.ckpt").rename(folder / "resume.ckpt")
    os.utime(folder / "resume.ckpt", (1, 1))
    return plan, tmp_path / "expected.safetensors"


def test_the_newest_checkpoint_counts(preempted: tuple[Plan, Path], capsys: pytest.CaptureFixture[str]) -> None:
    plan, expected = preempted
    folder = plan.stages[0].directory
    assert plan.stages[0].state() == "resume"
    assert newest_checkpoint(folder) == folder / "hpc_ckpt_1.ckpt"
    run_stages(plan)
    assert f"resumes from {folder / 'hpc_ckpt_1.ckpt'}" in capsys.readouterr().out
    found, wanted = load_file(plan.stages[0].artefact()), load_file(expected)
    assert all(found[key].equal(wanted[key]) for key in wanted)
    assert newest_checkpoint(folder) is None  # the next training of this folder must not go on from it


def test_without_one_of_ours_it_still_counts(preempted: tuple[Plan, Path]) -> None:
    plan, _ = preempted
    (plan.stages[0].directory / "resume.ckpt").unlink()
    assert plan.stages[0].state() == "resume"


def test_from_the_beginning_means_without_it(preempted: tuple[Plan, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Under SLURM Lightning would pick it up by itself."""
    plan, _ = preempted
    run_stages(plan, stages_from(plan, "first"))
    assert "resumes" not in capsys.readouterr().out
    assert not list(plan.stages[0].directory.glob("*.ckpt"))
    assert (plan.stages[0].manifest() or {})["costs"]["steps"] == 13
