"""A training that waits for its data says so, with the switch that helps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import lightning as L

if TYPE_CHECKING:  # `gkd fit --help` needs no data
    from gkd_lightning.data import TrainingModule, TrainLoader

SHARE = 0.1
"""Of a training's time, above which waiting is worth a line."""
WINDOW = 100
"""Batches between two looks; the first window starts after `WARM_UP`."""
WARM_UP = 10


class WaitingForData(L.Callback):
    """Say once, in one line, if more than a tenth of the time goes into waiting for batches.

    Time is that of steps and of waiting, on the host, which costs no synchronisation: loaders that keep up have a batch
    ready whenever it is asked for. Loading in the main process of a training on the CPU is work, not waiting.

    Args:
        title: name of the run.
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self._said = False
        self._batches = -WARM_UP
        self._working = self._waited = self._begun = 0.0

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        """A step begins."""
        self._begun = time.perf_counter()

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Look at the clock at the end of a window."""
        from gkd_lightning.data import TrainingModule, TrainLoader

        loader, data = trainer.train_dataloader, getattr(trainer, "datamodule", None)
        if self._said or not isinstance(loader, TrainLoader) or not isinstance(data, TrainingModule):
            return
        self._working += time.perf_counter() - self._begun
        self._batches += 1
        if self._batches < WINDOW and self._batches != 0:
            return
        waiting = loader.waiting.seconds - self._waited
        share = waiting / (waiting + self._working)
        if self._batches == WINDOW and share > SHARE and (data.workers or trainer.strategy.root_device.type != "cpu"):
            self._said = True
            if trainer.is_global_zero:
                print(f"{self.title}: {share:.0%} of the time is waiting for data; {advice(data, loader)}", flush=True)
        self._batches, self._working, self._waited = 0, 0.0, loader.waiting.seconds


def advice(data: TrainingModule, loader: TrainLoader) -> str:
    """What helps: workers while there are cores for them, then less work for each."""
    from gkd_lightning.data import DistillationView, ProxyDataModule

    free = data.free_workers
    if data.workers < free:
        return f"data.num_workers is {data.workers}, there are cores for {free}"
    view = loader.dataset
    on_gpu = data.trainer is not None and data.trainer.strategy.root_device.type != "cpu"
    if on_gpu and isinstance(view, DistillationView) and not view.transform.config.on_device:
        key = "augmentation" if isinstance(data, ProxyDataModule) else "distill_augmentation"
        return f"set data.{key}.on_device=true, or make files that decode faster with `gkd data prepare fast`"
    return "make files that decode faster with `gkd data prepare fast`, or ask for more cores"
