"""How the processes of a training are kept together: DistributedDataParallel with our options, made here alone.

``trainer.strategy: ddp`` (or ``auto`` on several devices) stands for these; a `DDPStrategy` that is written out with
its own arguments is taken as it is.

* ``gradient_as_bucket_view``: gradients lie in the buckets that are sent: none is copied, none is kept twice.
* ``broadcast_buffers=False``: what buffers there are is constant, or equal on all ranks by itself: they start from one
  seed, and CIRKD's memory of pixels takes in the same vectors by the same draws everywhere. Running statistics of batch
  normalisation are each rank's own, unless `trainer.sync_batchnorm` is set; those of the first rank are handed on.
* no ``static_graph``: all it saves is the search for unused parameters, which is off; where it holds the losses are the
  same bits. It does not hold with accumulated batches, whose first step then stops in PyTorch's reducer.
"""

from __future__ import annotations

import sys
from typing import Any

from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry
from torch import nn

from gkd_lightning.errors import UserError

OPTIONS: dict[str, Any] = {"gradient_as_bucket_view": True, "broadcast_buffers": False}
"""Of `torch.nn.parallel.DistributedDataParallel`."""


def check_strategy(asked: Any) -> None:
    """Refuse a `trainer.strategy`, a name or an object with a ``class_path``, that cannot train a stage.

    Raises:
        UserError: it is neither for one device nor DDP.
    """
    name = str(getattr(asked, "class_path", None) or (type(asked).__name__ if not isinstance(asked, str) else asked))
    short = name.rpartition(".")[2].removesuffix("Strategy").lower()
    if not short.startswith(("auto", "ddp", "singledevice", "single_device")):
        raise UserError(
            f"trainer.strategy: {name}: cuts parameters into pieces or is for other hardware, but a stage averages "
            "and hands on whole ones; use ddp, and for memory trainer.accumulate_grad_batches or "
            "model.activation_checkpointing"
        )


def strategy(asked: Any, processes: int) -> Any:
    """What the trainer gets for a `trainer.strategy` on so many processes, over all nodes."""
    interactive = hasattr(sys, "ps1")  # where Lightning has a way of its own
    if asked in (None, "auto") and processes > 1 and not interactive:
        asked = "ddp"
    if isinstance(asked, str) and asked.startswith("ddp") and asked in StrategyRegistry:
        return DDPStrategy(**{**OPTIONS, **StrategyRegistry[asked]["init_params"]})
    return asked


class SyncBatchNorm(TorchSyncBatchNorm):
    """Batch normalisation over the images of all ranks, also where timm's layer has its activation inside.

    PyTorch's own conversion would drop that activation.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Take the synchronous layer in the place of each."""
        from timm.layers import convert_sync_batchnorm

        converted: nn.Module = convert_sync_batchnorm(model)
        return converted

    def revert(self, model: nn.Module) -> nn.Module:
        """Leave them: without other ranks they are the ordinary layers, under the same names."""
        return model
