"""An interrupted run goes on with exactly the batches that it had not used yet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from gkd_lightning.data import DistillAugmentation, ProxyDataModule, SourceDataModule
from gkd_lightning.errors import UserError
from tests.data.helpers import Recorder, Scribbles, trainer

PLAIN = DistillAugmentation(rand_augment="", erasing=0)


class Stop(Callback):
    """Ends the run hard, as kill -9 would, after so many batches."""

    def __init__(self, batches: int) -> None:
        self.batches = batches

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, *rest: Any) -> None:
        if trainer.fit_loop.epoch_loop.batch_progress.total.processed == self.batches:
            raise ZeroDivisionError  # not KeyboardInterrupt, which Lightning ends gracefully


def data(workers: int = 0, images: int = 22, batch: int = 4, **options: Any) -> SourceDataModule:
    return SourceDataModule(
        Scribbles(images), "distillation", 8, batch, workers, seed=3, distill_augmentation=PLAIN,
        val={"home": Scribbles(3)}, **options,
    )  # fmt: skip


def run(folder: Path, every: int, limits: dict[str, Any], stop: int | None, workers: int = 0, **options: Any) -> Any:
    """One run with a checkpoint every `every` steps; returns what its steps saw."""
    keep = ModelCheckpoint(folder, filename="{step}", every_n_train_steps=every, save_top_k=-1)
    callbacks: list[Callback] = [keep] if stop is None else [keep, Stop(stop)]
    recorder, options = Recorder(), dict(options)
    resume = options.pop("resume", None)
    module = data(workers, **options.pop("data", {}))
    fit = trainer(enable_checkpointing=True, callbacks=callbacks, log_every_n_steps=1, **limits, **options)
    if stop is None:
        fit.fit(recorder, datamodule=module, ckpt_path=resume, weights_only=True)
    else:
        with pytest.raises(ZeroDivisionError):
            fit.fit(recorder, datamodule=module, ckpt_path=resume, weights_only=True)
    return recorder


STEPS = {"max_steps": 13, "max_epochs": -1}
EPOCHS = {"max_epochs": 3}


@pytest.mark.parametrize("limits", [STEPS, EPOCHS], ids=["max_steps", "max_epochs"])
@pytest.mark.parametrize("saved", [1, 3, 4, 5, 6, 9, 10])
def test_every_place_in_an_epoch(tmp_path: Path, limits: dict[str, Any], saved: int) -> None:
    """Epochs have 5 steps: the checkpoints lie inside an epoch, at its end, and behind it."""
    whole = run(tmp_path / "a", 1, limits, None).seen
    assert len({key for step in whole for key in step[:-1]}) == 4 * len(whole)
    cut = run(tmp_path / "b", 1, limits, stop=saved + 1).seen
    assert cut == whole[: saved + 1]
    rest = run(tmp_path / "b", 1, limits, None, resume=tmp_path / "b" / f"step={saved}.ckpt")
    assert rest.seen == whole[saved:]
    assert rest.epochs == [(saved + step) // 5 for step in range(len(rest.seen))]


def test_with_worker_processes_that_have_prefetched(tmp_path: Path) -> None:
    whole = run(tmp_path / "a", 3, STEPS, None).seen
    run(tmp_path / "b", 3, STEPS, stop=8, workers=2)
    rest = run(tmp_path / "b", 3, STEPS, None, workers=2, resume=tmp_path / "b" / "step=6.ckpt").seen
    assert rest == whole[6:]


@pytest.mark.parametrize("limits", [STEPS, EPOCHS], ids=["max_steps", "max_epochs"])
def test_twice_interrupted(tmp_path: Path, limits: dict[str, Any]) -> None:
    """The second time after a checkpoint at an epoch's last step, where Lightning's epoch counters go astray."""
    whole = run(tmp_path / "a", 1, limits, None).seen
    run(tmp_path / "b", 5, limits, stop=6)
    run(tmp_path / "b", 1, limits, stop=8, resume=tmp_path / "b" / "step=5.ckpt")
    rest = run(tmp_path / "b", 9, limits, None, resume=tmp_path / "b" / "step=7.ckpt")
    assert rest.seen == whole[7:]


class SaveOnError(Callback):
    def __init__(self, path: Path) -> None:
        self.path = path

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        trainer.save_checkpoint(self.path)


class Broken(Recorder):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if len(self.seen) == 7:
            raise ZeroDivisionError
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("limits", [STEPS, EPOCHS], ids=["max_steps", "max_epochs"])
def test_a_step_cut_short_is_done_again(tmp_path: Path, limits: dict[str, Any]) -> None:
    whole = run(tmp_path / "a", 100, limits, None).seen
    with pytest.raises(ZeroDivisionError):
        trainer(callbacks=[SaveOnError(tmp_path / "x.ckpt")], **limits).fit(Broken(), datamodule=data())
    assert run(tmp_path / "b", 100, limits, None, resume=tmp_path / "x.ckpt").seen == whole[7:]


def test_with_accumulated_batches(tmp_path: Path) -> None:
    options: dict[str, Any] = {"accumulate_grad_batches": 2}
    whole = run(tmp_path / "a", 1, STEPS, None, **options).seen
    assert len(whole) == 26
    run(tmp_path / "b", 1, STEPS, stop=15, **options)
    rest = run(tmp_path / "b", 1, STEPS, None, resume=tmp_path / "b" / "step=7.ckpt", **options).seen
    assert rest == whole[14:]


def test_with_validation_inside_the_epoch_and_shortened_epochs(tmp_path: Path) -> None:
    options: dict[str, Any] = {"limit_train_batches": 4, "val_check_interval": 2}
    whole = run(tmp_path / "a", 1, STEPS, None, **options)
    assert whole.names[:3] == [("home", f"scribble{index}") for index in range(3)]
    for saved in (5, 6, 8):
        folder = tmp_path / f"b{saved}"
        run(folder, 1, STEPS, stop=saved + 1, **options)
        rest = run(folder, 1, STEPS, None, resume=folder / f"step={saved}.ckpt", **options).seen
        assert rest == whole.seen[saved:]


def test_checkpoint_after_validation_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    whole = run(tmp_path / "a", 100, EPOCHS, None).seen
    keep = ModelCheckpoint(tmp_path / "c", filename="{epoch}", save_top_k=-1)
    first = trainer(enable_checkpointing=True, callbacks=[keep, Stop(12)], **EPOCHS)
    with pytest.raises(ZeroDivisionError):
        first.fit(Recorder(), datamodule=data())
    rest = run(tmp_path / "d", 100, EPOCHS, None, resume=tmp_path / "c" / "epoch=1.ckpt").seen
    assert rest == whole[10:]


def test_a_second_fit_of_the_same_trainer_goes_on_with_the_next_epoch() -> None:
    module, recorder, fit = data(), Recorder(), trainer(max_epochs=1)
    fit.fit(recorder, datamodule=module)
    fit.fit_loop.max_epochs = 2
    fit.fit(recorder, datamodule=module)
    whole = Recorder()
    trainer(max_epochs=2).fit(whole, datamodule=data())
    assert recorder.seen == whole.seen


def test_resuming_with_another_batch_size_is_refused(tmp_path: Path) -> None:
    run(tmp_path, 3, STEPS, stop=4)
    with pytest.raises(UserError, match=r"made with batch_size = 4, now it is 2"):
        run(tmp_path, 3, STEPS, None, resume=tmp_path / "step=3.ckpt", data={"batch": 2})


def test_resuming_with_other_images_is_refused(tmp_path: Path) -> None:
    run(tmp_path, 3, STEPS, stop=4)
    with pytest.raises(UserError, match=r"made with images = 22, now it is 30"):
        run(tmp_path, 3, STEPS, None, resume=tmp_path / "step=3.ckpt", data={"images": 30})


def test_loading_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    module = ProxyDataModule(Scribbles(9), 8, 4, augmentation=PLAIN)
    for _ in module.train_dataloader():
        pass
    assert torch.equal(torch.rand(3), expected)
