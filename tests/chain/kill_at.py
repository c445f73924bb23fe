"""Run a recipe's stages in this process and die without warning at the batch that TOY_KILL_AT_STEP names."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import lightning as L

from gkd_lightning.chain.callbacks import KeyedSteps
from gkd_lightning.chain.execution import run_stages
from gkd_lightning.chain.plan import make_plan
from gkd_lightning.recipes.recipe_reader import load_recipe

STEP = int(os.environ["TOY_KILL_AT_STEP"])
usual = KeyedSteps.on_train_batch_start


def kill_at(self: KeyedSteps, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int) -> None:
    if trainer.global_step == STEP:
        os.kill(os.getpid(), signal.SIGKILL)
    usual(self, trainer, pl_module, batch, batch_idx)


KeyedSteps.on_train_batch_start = kill_at  # type: ignore[method-assign]
run_stages(make_plan(load_recipe(sys.argv[1]), Path(sys.argv[2])))
