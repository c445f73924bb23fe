"""What a training cost: steps, images, seconds, images per second, peak memory."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from torch.utils.flop_counter import FlopCounterMode

from gkd_lightning.flops import flop_counter
from gkd_lightning.memory import peak_memory, reset_peak_memory

_COUNTS = ("images", "seconds", "peak_bytes", "parameters", "trainable", "flops", "batches")


class RunCosts(L.Callback):
    """Count while training; the counts travel in the checkpoint, so a resumed run reports the whole.

    Attributes:
        images: images that training steps have seen, over all ranks.
        seconds: wall-clock of training, validation included.
        flops: operations of one batch of each shape of images, such as ``32x3x96x96``.
        batches: of each shape that training steps have seen.
    """

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self.peak_bytes = 0
        self.parameters = 0
        self.trainable = 0
        self.flops: dict[str, int] = {}
        self.batches: dict[str, int] = {}
        self._counter: FlopCounterMode | None = None
        self._begun = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._begun = time.perf_counter() - self.seconds
        self.parameters = sum(parameter.numel() for parameter in pl_module.parameters())
        self.trainable = sum(parameter.numel() for parameter in pl_module.parameters() if parameter.requires_grad)
        reset_peak_memory()

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Count the operations of a shape's second step (in the first, compiled blocks are compiled).

        A resumed run knows them from its checkpoint.
        """
        shape = _shape(batch)
        again = trainer.global_step > 0 and shape in self.batches
        if again and shape not in self.flops and trainer.world_size == 1:
            self._counter = flop_counter()
            self._counter.__enter__()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the batch."""
        shape = _shape(batch)
        if self._counter is not None:
            self.flops[shape] = self._counter.get_total_flops()
            self._stop_counting()
        self.batches[shape] = self.batches.get(shape, 0) + 1
        if isinstance(batch, dict) and "image" in batch:
            self.images += len(batch["image"]) * trainer.world_size
        self.seconds = time.perf_counter() - self._begun

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Stop counting: the counter's hooks reach every module of the process."""
        self._stop_counting()

    def _stop_counting(self) -> None:
        if self._counter is not None:
            self._counter.__exit__(None, None, None)
            self._counter = None

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock."""
        self.seconds = time.perf_counter() - self._begun
        self.peak_bytes = max(self.peak_bytes, peak_memory())

    def state_dict(self) -> dict[str, Any]:
        """Counts so far."""
        self.peak_bytes = max(self.peak_bytes, peak_memory())
        return {name: getattr(self, name) for name in _COUNTS}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting from there."""
        # a checkpoint of an earlier version does not tell the shapes of its batches: their operations stay unknown
        for name, value in {"flops": {}, "batches": {"unknown": 1}, **state_dict}.items():
            if name in _COUNTS:
                setattr(self, name, value)

    @property
    def _tflops(self) -> float | None:
        """Of the whole training; None if a shape of batches was never counted."""
        if not self.batches.keys() <= self.flops.keys():
            return None
        return float(f"{sum(self.flops[shape] * count for shape, count in self.batches.items()) / 1e12:.6g}") or None

    def asdict(self, trainer: L.Trainer) -> dict[str, Any]:
        """Plain values for the manifest and the report."""
        return {
            "steps": trainer.global_step,
            "images": self.images,
            "tflops": self._tflops,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images / self.seconds, 3) if self.seconds else None,
            "peak_memory_bytes": self.peak_bytes,
            "parameters": self.parameters,
            "trainable_parameters": self.trainable,
        }


def _shape(batch: Any) -> str:
    """Of a batch's images; empty for a batch without any."""
    return "x".join(map(str, batch["image"].shape)) if isinstance(batch, dict) and "image" in batch else ""
