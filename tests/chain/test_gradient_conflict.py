"""Gradients compared in real single-stage runs: they are logged, and the weights are the same without them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gkd_lightning.baselines import DistillationTerm, View
from gkd_lightning.chain.callbacks.gradient_conflict import GradientConflict, measure
from gkd_lightning.chain.execution import run_stages
from gkd_lightning.chain.logger import read_metrics
from gkd_lightning.chain.plan import Plan
from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.gradient_conflict import conflicts, gradients
from tests.chain.studies import ENCODER, FILES, plan_study, write_study

JOINT = f"""
model.class_path: gkd_lightning.baselines.SingleStageDistillation
model.freeze_encoder: false
model.teacher: {ENCODER}
data.view: segmentation
"""
WATCH = """
trainer:
  callbacks:
    - class_path: gkd_lightning.chain.callbacks.GradientConflict
      init_args: {every_n_steps: 2}
"""
FRAGMENTS = ("trainer.yaml", "task.yaml", "source.yaml", "joint.yaml")


def stage(folder: Path, *names: str, options: tuple[str, ...] = ()) -> StageCLI:
    texts = {**FILES, "joint.yaml": JOINT, "watch.yaml": WATCH}
    arguments: list[str] = []
    for name in names:
        (folder / name).write_text(texts[name])
        arguments += ["--config", str(folder / name)]
    out = folder / ("with" if "watch.yaml" in names else "without")
    return StageCLI([*arguments, "--trainer.max_steps=5", f"--trainer.default_root_dir={out}", *options])


def trained(folder: Path, *names: str, options: tuple[str, ...] = ()) -> tuple[Path, list[dict[str, Any]]]:
    made = stage(folder, *names, options=options)
    made.run()
    out = Path(made.trainer.default_root_dir)
    return out, [row for row in read_metrics(out / "metrics.jsonl") if "conflict/cosine" in row]


@pytest.mark.parametrize(
    "options",
    [(), ("--trainer.precision=bf16-mixed", "--trainer.accumulate_grad_batches=2")],
    ids=["fp32", "bf16-mixed, two micro-batches"],
)
def test_it_is_logged_and_changes_no_bit(options: tuple[str, ...], tmp_path: Path) -> None:
    watched, rows = trained(tmp_path, *FRAGMENTS, "watch.yaml", options=options)
    usual, none = trained(tmp_path, *FRAGMENTS, options=options)
    assert not none
    assert [row["step"] for row in rows] == [0, 2, 4]
    for row in rows:
        parts = {key: value for key, value in row.items() if key.endswith("/cosine")}
        assert set(parts) == {"conflict/cosine", "conflict/patch_embedding/cosine"} | {
            f"conflict/block_{index}/cosine" for index in range(4)
        }
        assert all(-1 <= value <= 1 for value in parts.values())
        assert row["conflict/norm_task"] > 0
        assert row["conflict/norm_distillation"] > 0
    ours, theirs = (load_file(out / "segmenter.safetensors") for out in (watched, usual))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    without = [row["train/loss"] for row in read_metrics(usual / "metrics.jsonl")]
    assert [row["train/loss"] for row in read_metrics(watched / "metrics.jsonl") if "train/loss" in row] == without


def generators() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


class Restless(DistillationTerm):
    """Draws from every generator of the process, and remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bank", torch.zeros(3))

    def forward(self, student: View, teacher: View, labels: Any, keys: Any) -> dict[str, torch.Tensor]:
        self.bank += torch.rand(3) + random.random() + np.random.rand()
        return {"restless": (student.tokens.patches * self.bank.mean()).square().mean()}


def test_generators_buffers_and_gradients_stay(tmp_path: Path) -> None:
    made = stage(tmp_path, *FRAGMENTS)
    module, batch = with_batch(made)
    module.term = Restless()
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.grad = torch.full_like(parameter, 0.5)
    before, buffers = generators(), {name: buffer.clone() for name, buffer in module.named_buffers()}
    assert measure(module, batch, made.trainer)["conflict/norm_distillation"] > 0
    assert generators() == before
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in module.named_buffers())
    assert all(bool((parameter.grad == 0.5).all()) for parameter in learning if parameter.grad is not None)
    module.step_losses(batch)
    assert generators() != before
    assert not torch.equal(module.term.bank, buffers["term.bank"])


def with_batch(made: StageCLI) -> tuple[Any, dict[str, torch.Tensor]]:
    """The stage's model and the first batch of its data."""
    made.datamodule.trainer = made.trainer
    made.trainer.fit_loop.epoch_loop.batch_progress.total.processed = 0
    return made.model.train(), next(iter(made.datamodule.train_dataloader()))


def test_the_two_gradients_add_up_to_that_of_training(tmp_path: Path) -> None:
    made = stage(tmp_path, *FRAGMENTS)
    module, batch = with_batch(made)
    values = measure(module, batch, made.trainer)
    module.log = lambda *args, **kwargs: None  # type: ignore[assignment]
    module.training_step(batch, 0).backward()
    parameters = {name: value for name, value in module.encoder.named_parameters() if value.requires_grad}
    losses = module.step_losses(batch)
    task = gradients(losses.task.total, parameters, keep_graph=True)
    distillation = gradients(sum(losses.distillation.values()), parameters)
    for name, parameter in parameters.items():
        if parameter.grad is not None:
            torch.testing.assert_close(task[name] + distillation[name], parameter.grad, rtol=1e-4, atol=1e-6)
    whole = conflicts(task, distillation)["encoder"]
    assert values["conflict/cosine"] == pytest.approx(whole.cosine, abs=1e-6)
    assert values["conflict/norm_distillation"] == pytest.approx(whole.distillation_norm, rel=1e-5)


def test_a_model_without_two_losses(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="DomainGeneralDistillation has no distillation beside a task's loss"):
        trained(tmp_path, "trainer.yaml", "distill.yaml", "proxy.yaml", "watch.yaml")
    with pytest.raises(UserError, match="the encoder is frozen"):
        trained(tmp_path, *FRAGMENTS, "watch.yaml", options=("--model.freeze_encoder=true",))
    with pytest.raises(UserError, match="every_n_steps: 0"):
        GradientConflict(0)


def single_stage_plan(folder: Path, out: str, **settings: Any) -> Plan:
    write_study(folder)
    (folder / "joint.yaml").write_text(JOINT)
    (folder / "watch.yaml").write_text(WATCH)
    (folder / "watched.yaml").write_text(
        "name: watched\ncommon: {configs: [trainer.yaml]}\n"
        "methods: {single: {stages: [{name: joint, configs: [task.yaml, source.yaml, joint.yaml, watch.yaml]}]}}\n"
    )
    plan = plan_study(folder / "watched.yaml", folder / out, "single", trainer__max_steps=4, **settings)
    run_stages(plan)
    return plan


@pytest.mark.slow
@pytest.mark.timeout(600)  # two processes import everything
def test_two_processes_measure_what_one_does(tmp_path: Path) -> None:
    one = single_stage_plan(tmp_path, "one")
    two = single_stage_plan(tmp_path, "two", trainer__devices=2, trainer__strategy="ddp")
    rows = [
        [row for row in read_metrics(plan.stages[0].directory / "metrics.jsonl") if "conflict/cosine" in row]
        for plan in (one, two)
    ]
    assert [row["step"] for row in rows[1]] == [0, 2]
    for single, double in zip(*rows, strict=True):
        for key in single:
            if key.startswith("conflict/"):
                assert double[key] == pytest.approx(single[key], rel=0.02, abs=0.005), key


def test_every_rank_takes_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reduction is called whatever the rank: a rank that stays away would leave the others waiting."""
    from gkd_lightning.chain.callbacks import gradient_conflict as module

    calls: list[int] = []
    monkeypatch.setattr(module, "mean_over_ranks", lambda values: calls.append(values.numel()) or values)
    monkeypatch.setattr(L.Trainer, "is_global_zero", False, raising=False)
    made = stage(tmp_path, *FRAGMENTS)
    measure(*with_batch(made), made.trainer)
    assert len(calls) == 2
    assert calls[0] == calls[1] > 1000
