"""One rolling checkpoint that serves resuming only, never half-written."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from gkd_lightning.errors import UserError
from gkd_lightning.files import atomic_write

RESUME_CHECKPOINT = "resume.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write to a temporary name in the same folder, flush, rename: a kill in between leaves the last checkpoint."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save `checkpoint`; raises `OSError` on a full disk, with the file at `path` as it was."""
        with atomic_write(path) as temporary, temporary.open("wb") as handle:
            torch.save(checkpoint, handle)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> Any:
        """Read a checkpoint whose bytes are those that were written; PyTorch itself does not compare its checksums.

        Raises:
            UserError: a part of it was damaged.
        """
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except (zipfile.BadZipFile, OSError):
            damaged = None  # which PyTorch will tell
        if damaged is not None:
            raise UserError(
                f"ckpt_path: {path}: damaged since it was written ({damaged}); to begin the stage again remove it, or "
                "say gkd run … --from with the stage's name"
            )
        return super().load_checkpoint(path, *args, **kwargs)


class PortableCheckpoint(ModelCheckpoint):
    """Lightning's callback, whose state tells files by their names: a run's folder may be moved or copied.

    With whole paths a run that goes on in a copy would forget its best weights, or remove those of the original.
    """

    def state_dict(self) -> dict[str, Any]:
        """Without folders."""
        return self._moved(super().state_dict(), "")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """In this run's folder."""
        super().load_state_dict(self._moved(state_dict, str(self.dirpath)))

    def _moved(self, state: dict[str, Any], folder: str) -> dict[str, Any]:
        def place(path: str) -> str:
            return str(Path(folder) / Path(path).name) if path else ""

        paths = {key: place(state[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        best = {place(path): score for path, score in state["best_k_models"].items()}
        return {**state, **paths, "best_k_models": best, "dirpath": folder}


def resume_checkpoint(directory: str | Path, every_n_steps: int) -> ModelCheckpoint:
    """Overwrite ``resume.ckpt`` every so many optimiser steps."""
    return PortableCheckpoint(
        dirpath=str(directory),
        filename=RESUME_CHECKPOINT.removesuffix(".ckpt"),
        every_n_train_steps=every_n_steps,
        save_top_k=1,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )
