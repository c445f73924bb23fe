"""Steps that Lightning's trainer drives, one at a time: the module prepared as for a run, the trainer's own cost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

import lightning as L
import torch

from gkd_bench.profiling import wake
from gkd_lightning.chain.callbacks import Float32Products
from gkd_lightning.data import CITYSCAPES_19

T = TypeVar("T")
_MANY = 10**9
_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


class TrainerSteps:
    """`Trainer.fit`, which waits before every batch until a step is asked for in another thread.

    Operations are counted by thread, so that they cannot be counted here.
    """

    def __init__(self, module: L.LightningModule, batch: dict[str, torch.Tensor], precision: str, device: str) -> None:
        self.module, self.batch = module, len(batch["image"])
        self._asked, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._data = OneBatch(batch, self._asked)
        self._settings = (precision, device)
        self._thread: threading.Thread | None = None

    def step(self) -> int:
        """See `Workload.step`; the training begins with the first one, unless `drive` has begun it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._fit, args=self._settings, daemon=True)
            self._thread.start()
        self._asked.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return self.batch

    def drive(self, use: Callable[[], T]) -> T:
        """Train in this thread, to which graphs that torch captures belong, while `use` calls `step` in another."""
        wake(self._settings[1])
        result: Future[T] = Future()

        def ask() -> None:
            try:
                result.set_result(use())
            except BaseException as error:
                result.set_exception(error)
            self._data.stopped = True
            self._asked.release()

        self._thread = threading.Thread(target=ask, daemon=True)
        self._thread.start()
        self._fit(*self._settings)
        return result.result()

    def _fit(self, precision: str, device: str) -> None:
        torch.set_flush_denormal(True)  # a property of the thread
        try:
            L.Trainer(
                accelerator=device, devices=1, max_epochs=1, logger=False, enable_checkpointing=False,
                precision=_PRECISIONS[precision], enable_progress_bar=False, enable_model_summary=False,
                default_root_dir=Path(mkdtemp()), callbacks=[Float32Products(), _Told(self._done)],
            ).fit(self.module, datamodule=self._data)  # fmt: skip
        except BaseException as error:  # told to the one who asked
            self._error = error
            self._done.release()


class OneBatch(L.LightningDataModule):
    """The same batch again and again, each time when it is asked for; its labels, if any, are Cityscapes'."""

    label_space = CITYSCAPES_19
    domain_names = ()

    def __init__(self, content: dict[str, torch.Tensor], asked: threading.Semaphore) -> None:
        super().__init__()
        self.batch_size = len(content["image"])
        self.content, self.asked, self.stopped = content, asked, False

    def train_dataloader(self) -> OneBatch:
        """Itself."""
        return self

    def transfer_batch_to_device(
        self, batch: dict[str, torch.Tensor], device: torch.device, dataloader_idx: int
    ) -> dict[str, torch.Tensor]:
        """Keys stay on the host, as in the package's own data modules."""
        return {name: value if name == "key" else value.to(device, non_blocking=True) for name, value in batch.items()}

    def __len__(self) -> int:
        return _MANY  # Lightning would fetch a batch ahead from a loader without a length

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        while True:
            self.asked.acquire()
            if self.stopped:
                return
            yield dict(self.content)


class _Told(L.Callback):
    def __init__(self, done: threading.Semaphore) -> None:
        self.done = done

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.done.release()
