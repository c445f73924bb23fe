"""Which weights a run hands on: the last ones, or those that scored best on source validation data."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import lightning as L
import torch

from gkd_lightning.chain.callbacks.checkpoint import PortableCheckpoint
from gkd_lightning.errors import UserError

Selection = Literal["last", "source-val"]
"""``last`` is the default; ``source-val`` looks at the first validation domain of the source, never at a target."""

BEST_CHECKPOINT = "best.ckpt"


class BestOnSource(PortableCheckpoint):
    """Keep the weights of the best ``val/<domain>/miou``; its state travels in the resuming checkpoint.

    Args:
        directory: the run's folder.
    """

    def __init__(self, directory: str | Path) -> None:
        super().__init__(
            dirpath=str(directory),
            filename=BEST_CHECKPOINT.removesuffix(".ckpt"),
            mode="max",
            save_top_k=1,
            save_weights_only=True,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Find the domain.

        Raises:
            UserError: the data has no validation domain.
        """
        names = getattr(trainer.datamodule, "domain_names", [])
        if not names:
            raise UserError("selection: source-val needs a validation domain, add data.val or take selection: last")
        self.monitor = f"val/{names[0]}/miou"
        super().setup(trainer, pl_module, stage)

    def restore(self, pl_module: L.LightningModule) -> None:
        """Put the best weights back.

        Raises:
            UserError: no validation took place.
        """
        if not self.best_model_path:
            raise UserError("selection: source-val, but no validation took place; lower trainer.val_check_interval")
        best = torch.load(self.best_model_path, map_location=pl_module.device, weights_only=True)
        pl_module.load_state_dict(best["state_dict"])
