"""Interrupted on some devices, gone on with on others: the same global batches, so the same weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.errors import UserError
from tests.chain.toys import CONFIG, ToyStage

STEPS = 13


class Quiet(ToyStage):
    """Without noise, which belongs to a micro-batch; keeps the keys of every step."""

    def on_fit_start(self) -> None:
        self.seen: dict[int, list[int]] = {}

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        self.seen.setdefault(self.global_step, []).extend(batch["key"].tolist())
        x = batch["image"].float().mean((1, 2, 3))[:, None] / 255 + torch.ones(len(batch["image"]), 4)
        loss = (self.map(x) - batch["key"][:, None] % 7).square().mean()
        self.log("train/loss", loss)
        return loss


def arguments(folder: Path, name: str, *options: str) -> list[str]:
    config = folder / "config.yaml"
    config.write_text(CONFIG.replace("tests.chain.toys.ToyStage", "tests.chain.test_other_layout.Quiet"))
    return ["--config", str(config), "--trainer.default_root_dir", str(folder / name), *options]


def fit(folder: Path, name: str, accumulate: int, steps: int = STEPS, resume: Path | None = None) -> Quiet:
    options = [f"--trainer.accumulate_grad_batches={accumulate}", f"--trainer.max_steps={steps}"]
    options += [] if resume is None else [f"--ckpt_path={resume}"]
    stage = StageCLI(arguments(folder, name, *options))
    stage.run()
    assert stage.trainer.global_step == steps
    assert isinstance(stage.model, Quiet)
    return stage.model


def same_weights(one: Path, other: Path) -> None:
    ours, theirs = (load_file(path / "student.safetensors") for path in (one, other))
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (4, 2), (2, 4)])
def test_other_accumulation_goes_on_with_the_same_batches(tmp_path: Path, before: int, after: int) -> None:
    """Steps of 4 images, 5 to an epoch; the checkpoint after 8 lies inside the second."""
    whole = fit(tmp_path, "whole", 1)
    fit(tmp_path, "begun", before, steps=9)
    resumed = fit(tmp_path, "ended", after, resume=tmp_path / "begun/resume.ckpt")
    assert sorted(resumed.seen) == list(range(8, STEPS))
    for step, keys in resumed.seen.items():
        assert sorted(keys) == sorted(whole.seen[step])
    same_weights(tmp_path / "whole", tmp_path / "ended")


@pytest.mark.slow
def test_two_devices_become_one_with_two_accumulated_batches(tmp_path: Path) -> None:
    fit(tmp_path, "whole", 1)
    options = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_steps=9"]
    command = [sys.executable, "-m", "gkd_lightning", "fit", *arguments(tmp_path, "begun", *options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    fit(tmp_path, "ended", 2, resume=tmp_path / "begun/resume.ckpt")
    same_weights(tmp_path / "whole", tmp_path / "ended")


def test_a_checkpoint_inside_a_step_wants_its_own_accumulation(tmp_path: Path) -> None:
    fit(tmp_path, "begun", 2, steps=9)
    path = tmp_path / "begun/resume.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    for counts in ("total", "current"):
        checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"][counts]["processed"] += 1
    torch.save(checkpoint, path)
    with pytest.raises(UserError, match=r"inside a step of 2 .* trainer.accumulate_grad_batches=2"):
        fit(tmp_path, "ended", 1, resume=path)
