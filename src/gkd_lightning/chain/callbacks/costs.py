"""What a training cost: steps, images, seconds, images per second, peak memory."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from torch.utils.flop_counter import FlopCounterMode

from gkd_lightning.flops import flop_counter
from gkd_lightning.memory import peak_memory, reset_peak_memory

_COUNTS = ("images", "seconds", "peak_bytes", "parameters", "trainable", "flops_per_step")


class RunCosts(L.Callback):
    """Count while training; the counts travel in the checkpoint, so a resumed run reports the whole.

    Attributes:
        images: images that training steps have seen, over all ranks.
        seconds: wall-clock of training, validation included.
    """

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self.peak_bytes = 0
        self.parameters = 0
        self.trainable = 0
        self.flops_per_step = 0
        self._counter: FlopCounterMode | None = None
        self._begun = 0.0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._begun = time.perf_counter() - self.seconds
        self.parameters = sum(parameter.numel() for parameter in pl_module.parameters())
        self.trainable = sum(parameter.numel() for parameter in pl_module.parameters() if parameter.requires_grad)
        reset_peak_memory()

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        """Count the operations of the second step (in the first, compiled blocks are compiled).

        A resumed run knows them from its checkpoint.
        """
        if trainer.global_step == 1 and not self.flops_per_step and trainer.world_size == 1:
            self._counter = flop_counter()
            self._counter.__enter__()

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the batch."""
        if self._counter is not None:
            self.flops_per_step = self._counter.get_total_flops() * trainer.accumulate_grad_batches
            self._stop_counting()
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
        for name in _COUNTS:
            setattr(self, name, state_dict[name])

    def asdict(self, trainer: L.Trainer) -> dict[str, Any]:
        """Plain values for the manifest and the report."""
        return {
            "steps": trainer.global_step,
            "images": self.images,
            "tflops": float(f"{self.flops_per_step * trainer.global_step / 1e12:.6g}") or None,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images / self.seconds, 3) if self.seconds else None,
            "peak_memory_bytes": self.peak_bytes,
            "parameters": self.parameters,
            "trainable_parameters": self.trainable,
        }
