"""A batch for each size of images, as a user has it: plan, training, trial, and what each of them counts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gkd_lightning.chain import trial_steps
from gkd_lightning.chain.callbacks import RunCosts
from gkd_lightning.chain.callbacks.stop_watch import StopWatch
from gkd_lightning.chain.logger import read_metrics
from gkd_lightning.chain.plan import Plan
from gkd_lightning.chain.stage import Stage
from gkd_lightning.cli import main
from gkd_lightning.data import DistillAugmentation, ProxyDataModule
from tests.chain.studies import plan_study, write_study
from tests.data.helpers import Recorder, Scribbles, trainer

RECIPE = """
extends: study.yaml
common: {set: {trainer.max_steps: 12, data.num_workers: 0, data.image_size: [32, 48, 32], data.batch_size: [8, 4, 4]}}
methods:
  gkd: {stages: [{name: task_agnostic, configs: [distill.yaml, proxy.yaml]}]}
  none:
evaluate:
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    write_study(tmp_path)
    (tmp_path / "sizes.yaml").write_text(RECIPE)
    return tmp_path / "sizes.yaml"


def planned(recipe: Path, **settings: object) -> Plan:
    return plan_study(recipe, recipe.parent / "out", **settings)


def test_what_the_plan_says_is_what_the_training_counts(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", str(recipe), "--out", str(recipe.parent / "out"), "--set", "model.reference_batch_size=64"]
    assert main([*command, "--dry-run"]) == 0
    text = capsys.readouterr().out
    (line,) = (line for line in text.splitlines() if " parameters, " in line)
    assert "64 images;" in line
    assert line.endswith(" of memory for 8 of 32 pixels, 4 of 48 pixels or 4 of 32 pixels at once")
    assert main(command) == 0
    (folder,) = (recipe.parent / "out/stages").glob("task_agnostic-*")
    costs = json.loads((folder / "costs.json").read_text())
    assert (costs["steps"], costs["images"]) == (12, 64)
    estimate = re.search(r"learn; ([\d.]+) MFLOPs an image", line)
    assert estimate is not None
    assert costs["tflops"] * 1e12 == pytest.approx(64e6 * float(estimate[1]), rel=0.02)
    assert [row["step"] for row in read_metrics(folder / "metrics.jsonl")] == list(range(12))


def test_the_learning_rate_is_that_of_the_mean_batch(recipe: Path) -> None:
    from gkd_lightning.chain.stage_cli import StageCLI

    (stage,) = planned(recipe, model__reference_batch_size=64, model__lr=0.1).stages
    path = recipe.parent / "stage.yaml"
    path.write_text(json.dumps(stage.what.config_with(folder=str(recipe.parent / "fit"))))
    cli = StageCLI(["--config", str(path), "--trainer.max_steps=3"])
    cli.run()
    assert cli.trainer.optimizers[0].defaults["lr"] == pytest.approx(0.1 * 16 / 3 / 64)


@pytest.mark.parametrize(
    ("batch", "same"),
    [([8, 4, 4], True), ([4, 8, 4], False), ([8, 8, 8], False), (8, False)],
)
def test_another_batch_is_another_stage(recipe: Path, batch: object, same: bool) -> None:
    (stage,), (other,) = planned(recipe).stages, planned(recipe, data__batch_size=batch).stages
    assert (stage.hash == other.hash) == same


@pytest.mark.parametrize(
    ("settings", "at_once", "images"),
    [
        ({}, (8, 4, 4), 64),
        ({"trainer.accumulate_grad_batches": 2}, (4, 2, 2), 64),
        ({"trainer.devices": 2, "trainer.accumulate_grad_batches": 2}, (2, 1, 1), 64),
        ({"trainer.max_steps": None, "trainer.max_epochs": 5}, (8, 4, 4), 5 * 16),  # 20 images: one round of 16
        ({"trainer.max_steps": 4}, (8, 4, 4), 21),  # 16 and a third of 16
    ],
)
def test_what_a_stage_knows(recipe: Path, settings: dict[str, object], at_once: tuple[int, ...], images: int) -> None:
    from gkd_lightning.chain.cost import images_of
    from gkd_lightning.recipes import changed

    (planned_stage,) = planned(recipe).stages
    stage = Stage.read(changed(planned_stage.config, settings))
    assert stage.images_at_once == at_once
    assert images_of(stage) == images


@pytest.mark.parametrize(
    ("batch", "at_once", "told"),
    [
        (
            [8, 4, 4],
            (18, 8, 18),
            "18 images of 32 pixels, 0.02 GiB, or 8 images of 48 pixels, 0.02 GiB, or 18 images of 32 pixels",
        ),
        (8, (8,), "largest batch on one device: 8 images, 0.02 GiB; data.batch_size 8, and"),
    ],
)
def test_the_largest_batch_of_each_size(
    batch: object, at_once: tuple[int, ...], told: str, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that takes 8 images of 48 pixels; of sizes that share a batch the largest counts."""

    def steps(trial: Stage, steps: int, folder: Path) -> SimpleNamespace:
        pixels = max(images * side**2 for images in trial.images_at_once for side in trial.image_sizes)
        if pixels > 8 * 48**2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return SimpleNamespace(peak_bytes=1024 * pixels)

    monkeypatch.setattr(trial_steps, "_run", steps)
    monkeypatch.setattr(trial_steps, "_on_gpu", lambda config: True)
    (stage,) = planned(recipe, data__batch_size=batch).stages
    found = trial_steps._fitted(stage, recipe.parent / "trial", {}, None)
    assert (found.at_once, found.accumulate) == (at_once, 1)
    assert told in str(found)


@pytest.mark.parametrize(("steps", "rounds", "taken", "images"), [(1, 3, 6, 14), (4, 3, 9, 28), (1, 1, 3, None)])
def test_trials_take_and_time_whole_rounds(steps: int, rounds: int, taken: int, images: int | None) -> None:
    data = ProxyDataModule(Scribbles(60), [8, 16, 24], [8, 4, 2], augmentation=DistillAugmentation(rand_augment=""))
    watch = StopWatch(steps, rounds)
    fit = trainer(callbacks=[watch], max_steps=20, max_epochs=-1)
    fit.fit(Recorder(), datamodule=data)
    assert fit.global_step == taken
    assert watch.images == images or (images is None and watch.images in (2, 4, 8))


@pytest.mark.parametrize(
    ("name", "setting", "told"),
    [
        ("sizes", "data.batch_size=[8, 4]", "batch_size: [8, 4] has 2 entries, image_size 3"),
        ("sizes", "data.batch_size=[8, 4, 0]", "data.batch_size[2]: 0; give a number at least 1"),
        ("sizes", "data.batch_size=[8, 4, 1]", "mask_probability: 0.5 of a batch of 1 per device is no image"),
        ("sizes", "trainer.accumulate_grad_batches=8", "batch of 4 cannot be divided by 1 devices x 8 accumulated"),
        ("sizes", "data.image_size=[32, 44, 32]", "image size 44x44 is not a multiple of the patch size 8"),
        ("sizes", "data.image_size=32", "batch_size: [8, 4, 4] has 3 entries, image_size 1"),
        ("study", "task:data.image_size=[32, 48]", "image_size: [32, 48] is for view: distillation"),
        ("study", "task:data.batch_size=[4, 2]", "batch_size: [4, 2] has 2 entries, image_size 1"),
        ("study", "evaluate:data.batch_size=[1, 2]", "evaluate: data.batch_size: expected int, got [1, 2]"),
    ],
)
def test_mistakes_are_told_before_the_first_stage(
    name: str, setting: str, told: str, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = recipe.parent / "out"
    assert main(["run", str(recipe.with_stem(name)), "--methods", "gkd", "--out", str(out), "--set", setting]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not out.exists()


def test_operations_of_a_run_begun_by_an_earlier_version_stay_unknown() -> None:
    """Its checkpoint does not tell the sizes of what it had seen."""
    costs = RunCosts()
    costs.load_state_dict(
        {"images": 8, "seconds": 2.0, "peak_bytes": 1, "parameters": 1, "trainable": 1, "flops_per_step": 5}
    )
    found = costs.asdict(SimpleNamespace(global_step=2))  # type: ignore[arg-type]
    assert (found["images"], found["images_per_second"], found["tflops"]) == (8, 4.0, None)
