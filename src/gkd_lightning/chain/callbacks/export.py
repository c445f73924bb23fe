"""The artefact that a finished training hands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch

from gkd_lightning.chain.callbacks.selection import BestOnSource
from gkd_lightning.errors import UserError


class ExportArtefact(L.Callback):
    """Call `module.export(directory, provenance)` once training has reached its end, on the first rank only.

    Args:
        directory: where the artefact goes.
        provenance: plain values for its record.
        best: if given, its weights are handed on instead of the last.

    Attributes:
        artefact: path of the written weights, None until then.
    """

    def __init__(self, directory: str | Path, provenance: dict[str, Any], best: BestOnSource | None = None) -> None:
        self.directory = Path(directory)
        self.provenance = provenance
        self.best = best
        self.artefact: Path | None = None

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Lightning calls this only when no exception ended the run."""
        if trainer.global_step == 0:
            raise UserError("no training step was taken, so there is nothing to hand on; check trainer and data")
        export = getattr(pl_module, "export", None)
        if self.best is not None:
            self.best.restore(pl_module)
        if trainer.is_global_zero and export is not None and not trainer.fast_dev_run:
            facts: dict[str, Any] = {"steps": trainer.global_step, "epochs": trainer.current_epoch}
            facts["float32_matmul_precision"] = torch.get_float32_matmul_precision()  # as given, or by the device
            manifest = getattr(trainer.datamodule, "manifest", None)
            if manifest is not None:
                facts["data"] = manifest()
            self.artefact = export(self.directory, {**self.provenance, **facts})
        trainer.strategy.barrier("artefact")
