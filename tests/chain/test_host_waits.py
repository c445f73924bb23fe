"""Through the trainer, with the callbacks of a chain's stage: steps that are not logged read and reduce nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import distributed

from gkd_bench.counting import HostReads
from gkd_lightning.chain.callbacks import KeyedSteps, Progress, RunCosts
from gkd_lightning.chain.logger import RunLogger, read_metrics
from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.step_logging import StepLogging
from tests.chain.studies import write_study

COLLECTIVES = (
    "all_reduce",
    "barrier",
    "broadcast",
    "all_gather",
    "all_gather_into_tensor",
    "reduce",
    "all_gather_object",
)
EVERY, STEPS = 4, 8
"""Two of eight steps are logged."""


class Counted(L.Callback):
    """Host reads and collectives from the end of one micro-batch to the end of the next, the trainer's own included."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reads = HostReads()
        self.calls: list[str] = []
        self.rows: list[dict[str, Any]] = []

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        self.reads.__enter__()
        self.calls.clear()

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if self.rows:
            self._close()  # what the trainer did once the last batch had ended: its loggers
        self.rows.append({"step": trainer.global_step + 1})

    def on_train_end(self, trainer: L.Trainer, *_: Any) -> None:
        self._close()
        self.reads.__exit__(None, None, None)
        if trainer.is_global_zero:
            self.path.write_text(json.dumps(self.rows))

    def _close(self) -> None:
        self.rows[-1] |= {"reads": self.reads.total, "collectives": list(self.calls)}
        self.reads.reads.clear()
        self.calls.clear()


@contextmanager
def noted(calls: list[str]) -> Iterator[None]:
    """Every call of a collective from Python; DistributedDataParallel's exchange of gradients is none of them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in COLLECTIVES:
            original = getattr(distributed, name)

            def call(*args: Any, _name: str = name, _original: Any = original, **kwargs: Any) -> Any:
                calls.append(_name)
                return _original(*args, **kwargs)

            patch.setattr(distributed, name, call)
        yield


def fit(folder: Path, stage: str, **trainer: Any) -> list[dict[str, Any]]:
    """What every micro-batch of a short stage did, built from the study's configuration."""
    write_study(folder)
    data, model = ("proxy", "distill") if stage == "distill" else ("source", "task")
    args = [f"--config={folder / f'{name}.yaml'}" for name in ("trainer", model, data)]
    args += [f"--trainer.default_root_dir={folder}", "--data.dataset.size=64"]  # one epoch: a new one draws a seed
    args += ["--data.num_workers=1"]  # augmentation reads what it draws
    args += ["--model.health_every_n_steps=4"] if stage == "distill" else ["--data.view=segmentation"]
    cli = StageCLI(args)
    counted = Counted(folder / "counted.json")
    runner = L.Trainer(
        max_steps=STEPS, max_epochs=-1, accelerator="cpu", log_every_n_steps=EVERY, logger=RunLogger(folder),
        callbacks=[counted, Progress(every_seconds=0), KeyedSteps(0), RunCosts()], enable_checkpointing=False,
        enable_model_summary=False, use_distributed_sampler=False, default_root_dir=folder, num_sanity_val_steps=0,
        **trainer,
    )  # fmt: skip
    with noted(counted.calls):
        runner.fit(cli.model, cli.datamodule)
    rows: list[dict[str, Any]] = json.loads((folder / "counted.json").read_text())
    return rows


def expected(rows: list[dict[str, Any]], accumulate: int) -> list[dict[str, Any]]:
    """One read in a logged step: the progress display's. (The loggers' one copy of all values is none on a CPU.)"""
    assert [row["step"] for row in rows] == [step for step in range(1, STEPS + 1) for _ in range(accumulate)]
    last = [number % accumulate == accumulate - 1 for number in range(len(rows))]
    return [
        {"step": row["step"], "reads": int(ends and row["step"] % EVERY == 0), "collectives": []}
        for row, ends in zip(rows, last, strict=True)
    ]


@pytest.mark.parametrize("stage", ["distill", "task"])
def test_one_process(stage: str, tmp_path: Path) -> None:
    rows = fit(tmp_path, stage, devices=1, accumulate_grad_batches=2)
    assert rows == expected(rows, 2)
    logged = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in logged] == [EVERY - 1, STEPS - 1]
    names = {"train/loss", "health/cosine", "health/grad_fea"} if stage == "distill" else {"train/loss_dice"}
    assert all(names <= set(row) for row in logged)


class Early(L.Callback):
    """Ends training after the sixth step, which is not a logged one."""

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.global_step == 6


class Plain(StepLogging):
    """Its values are the numbers of its micro-batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        first = {"first": batch.sum()} if self.begins_step else {}
        self.log_step({"all": batch.sum(), **first})
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_rows_are_means_over_micro_batches_and_never_of_an_earlier_step(tmp_path: Path) -> None:
    runner = L.Trainer(
        max_epochs=9, min_epochs=0, accelerator="cpu", devices=1, log_every_n_steps=4, logger=RunLogger(tmp_path),
        callbacks=[Early()], accumulate_grad_batches=2, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip
    runner.fit(Plain(), torch.utils.data.DataLoader(torch.arange(32.0)))
    rows = [{key: row[key] for key in ("step", "all", "first")} for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert rows == [{"step": 3, "all": 6.5, "first": 6.0}, {"step": 5, "all": 10.5, "first": 10.0}]


@pytest.mark.parametrize("stage", ["distill", "task"])
def test_two_processes(stage: str, tmp_path: Path) -> None:
    """Lightning 2.6 asks the first rank before every micro-batch whether it was told to end: one broadcast, one read.

    The task's loss needs the number of masks of all ranks, in every step.
    """
    rows = fit(tmp_path, stage, devices=2, strategy="ddp_fork")
    wanted = expected(rows, 1)
    for row in wanted:
        logged = row["step"] % EVERY == 0
        row["collectives"] = ["all_reduce"] * ((stage == "task") + logged)
        if row["step"] < STEPS:  # the next micro-batch's question
            row["collectives"].append("broadcast")
            row["reads"] += 1
    wanted[0]["collectives"].insert(0, "broadcast")
    wanted[0]["reads"] += 1
    assert rows == wanted
