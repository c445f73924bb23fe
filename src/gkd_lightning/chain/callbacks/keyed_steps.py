"""The main process's random draws belong to the step, not to what happened before it."""

from __future__ import annotations

import random
from typing import Any

import lightning as L
import numpy as np
import torch

from gkd_lightning.data import sample_key


class KeyedSteps(L.Callback):
    """Seed `random`, `numpy` and `torch` at the start of every training batch from (seed, batch count, rank).

    A resumed run therefore draws what the uninterrupted one draws, whatever was drawn while it was set up.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any) -> None:
        """See the class."""
        # not Lightning's own index, which counts a batch twice that a checkpoint inside its step has cut off
        done = int(trainer.fit_loop.epoch_loop.batch_progress.total.processed)
        key = sample_key(self.seed, done, trainer.global_rank)
        random.seed(key)
        np.random.seed([key & 0xFFFFFFFF, key >> 32])
        torch.manual_seed(key)
