"""A run's configuration, written into its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.cli import SaveConfigCallback

from gkd_lightning.files import write_text
from gkd_lightning.recipes import parse_dumped


class SavedConfig(SaveConfigCallback):
    """`config.yaml` in the run's folder after the first step, so that a run that never starts leaves nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, save_to_log_dir=False)
        self._written = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Too early."""

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Write once, on the first rank."""
        if self._written:
            return
        self._written = True
        if trainer.is_global_zero:
            self.save_config(trainer, trainer.lightning_module, "fit")

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Atomically, whatever the loggers are, and to the loggers."""
        text = self.parser.dump(self.config, skip_none=False, skip_validation=True, format="yaml")
        write_text(Path(trainer.default_root_dir) / "config.yaml", text)
        config = parse_dumped(text)
        for logger in trainer.loggers:
            logger.log_hyperparams(config)  # the whole configuration for W&B and TensorBoard, once
