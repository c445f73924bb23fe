"""One rolling checkpoint that serves resuming only, never half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from gkd_lightning.files import atomic_write

RESUME_CHECKPOINT = "resume.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write to a temporary name in the same folder, flush, rename: a kill in between leaves the last checkpoint."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save `checkpoint`; raises `OSError` on a full disk, with the file at `path` as it was."""
        with atomic_write(path) as temporary, temporary.open("wb") as handle:
            torch.save(checkpoint, handle)


def resume_checkpoint(directory: str | Path, every_n_steps: int) -> ModelCheckpoint:
    """Lightning's checkpoint callback set to overwrite ``resume.ckpt`` every so many optimiser steps."""
    return ModelCheckpoint(
        dirpath=str(directory),
        filename=RESUME_CHECKPOINT.removesuffix(".ckpt"),
        every_n_train_steps=every_n_steps,
        save_top_k=1,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
