"""Steps of stage 1 that Lightning's trainer drives, one at a time: what the trainer itself costs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import lightning as L
import torch

from gkd_bench.stage1_module import images_and_keys
from gkd_lightning.distill import DomainGeneralDistillation

_MANY = 10**9


class TrainerSteps:
    """`Trainer.fit` in a thread of its own, which waits before every batch until a step is asked for.

    Operations are counted by thread, so that they cannot be counted here.
    """

    def __init__(self, module: DomainGeneralDistillation, batch: int, precision: str, device: str) -> None:
        self.batch = batch
        self._asked, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        data = OneBatch(*images_and_keys(module, batch), self._asked)
        thread = threading.Thread(target=self._fit, args=(module, data, precision, device), daemon=True)
        thread.start()

    def step(self) -> int:
        """See `Workload.step`."""
        self._asked.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return self.batch

    def _fit(self, module: DomainGeneralDistillation, data: OneBatch, precision: str, device: str) -> None:
        torch.set_flush_denormal(True)  # a property of the thread
        try:
            L.Trainer(
                accelerator=device, devices=1, max_epochs=1, logger=False, enable_checkpointing=False,
                precision="bf16-mixed" if precision == "bf16" else "32-true", enable_progress_bar=False,
                enable_model_summary=False, default_root_dir=Path(mkdtemp()), callbacks=[_Told(self._done)],
            ).fit(module, datamodule=data)  # fmt: skip
        except BaseException as error:  # told to the one who asked
            self._error = error
            self._done.release()


class OneBatch(L.LightningDataModule):
    """The same batch again and again, each time when it is asked for."""

    def __init__(self, images: torch.Tensor, keys: torch.Tensor, asked: threading.Semaphore) -> None:
        super().__init__()
        self.batch_size = len(images)
        self.content, self.asked = {"image": images, "key": keys}, asked

    def train_dataloader(self) -> OneBatch:
        """Itself."""
        return self

    def transfer_batch_to_device(
        self, batch: dict[str, torch.Tensor], device: torch.device, dataloader_idx: int
    ) -> dict[str, torch.Tensor]:
        """Keys stay on the host, as in the package's own data modules."""
        return {"image": batch["image"].to(device, non_blocking=True), "key": batch["key"]}

    def __len__(self) -> int:
        return _MANY  # Lightning would fetch a batch ahead from a loader without a length

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        while True:
            self.asked.acquire()
            yield dict(self.content)


class _Told(L.Callback):
    def __init__(self, done: threading.Semaphore) -> None:
        self.done = done

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.done.release()
