"""How much of a large computation is done at once: a CPU takes what its cache holds, a GPU all that memory allows."""

from __future__ import annotations

import torch

from gkd_lightning.segment.exporting import is_exporting

CACHED_VALUES = 2**20
"""Float32 values that a CPU works on at once, 4 MiB: they are read again before they have left its cache."""
FULL_VALUES = 2**28
"""The same for every other device, 1 GiB: fewer and larger kernels are quicker there."""


def chunks(rows: int, values: int, device: torch.device, cached: int = CACHED_VALUES) -> list[slice]:
    """Slices that cover `rows` rows, each of which needs `values` intermediate values, in order; none is empty."""
    if is_exporting():
        return [slice(None)]  # a graph is one piece, of a number of rows that is not known yet
    room = cached if device.type == "cpu" else FULL_VALUES
    step = max(1, room // max(1, values))
    return [slice(first, min(rows, first + step)) for first in range(0, rows, step)]
