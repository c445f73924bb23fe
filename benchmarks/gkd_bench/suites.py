"""Which comparisons there are, by suite."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from gkd_bench.contender import Comparison

SUITES: dict[str, str] = {
    "loaders": "images per second of the data pipeline beside torchvision",
    "distillation": "steps of stage 1",
    "growth": "cost against batch, tokens and processes",
    "startup": "help, a verb's help, the first training step",
    "task": "stage 2's step",
    "inference": "evaluation by sliding window",
}


def comparisons(suite: str, device: str, peers: Sequence[str] = ()) -> list[Comparison]:
    """Comparisons of a suite; every module here has such a function.

    Args:
        suite: one of `SUITES`.
        device: ``cpu`` or ``cuda``: sizes and precisions follow it.
        peers: files with other implementations that the user has on disk.
    """
    made: list[Comparison] = importlib.import_module(f"gkd_bench.{suite}").comparisons(device, peers)
    return made
