"""On how many devices a stage runs, and whether its batch can be shared by them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from gkd_lightning.data import split_batch
from gkd_lightning.recipes import Config, get_value


def devices(config: Config) -> int:
    """Devices of each node that a stage's trainer will take; 1 for a value that Lightning will refuse."""
    asked = get_value(config, "trainer.devices", "auto")
    if isinstance(asked, Sequence) and not isinstance(asked, str):
        return max(len(asked), 1)
    if str(asked) in ("auto", "-1"):
        if get_value(config, "trainer.accelerator") == "cpu" or importlib.util.find_spec("torch") is None:
            return 1
        import torch

        return max(torch.cuda.device_count(), 1)
    if isinstance(asked, str) and "," in asked:  # indices, such as "0,1" or "0,"
        return len([part for part in asked.split(",") if part.strip()])
    try:
        return max(int(asked), 1)
    except (TypeError, ValueError):
        return 1


def processes(trainer: Mapping[str, Any]) -> int:
    """Processes that train a stage together, over all nodes; `trainer` is its configuration's section."""
    return devices({"trainer": dict(trainer)}) * int(trainer.get("num_nodes") or 1)


def check_batch(config: Config) -> None:
    """See to it that a stage's global batch can be shared, before the stages above it have trained for days.

    Raises:
        UserError: it cannot.
    """
    batch = get_value(config, "data.batch_size")
    if isinstance(batch, int):
        split_batch(
            batch,
            processes(config.get("trainer") or {}),
            int(get_value(config, "trainer.accumulate_grad_batches") or 1),
        )
