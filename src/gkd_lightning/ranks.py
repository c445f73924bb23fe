"""What the processes of a distributed run agree on."""

from __future__ import annotations

from torch import Tensor, distributed


def mean_over_ranks(values: Tensor) -> Tensor:
    """Mean of `values` over all ranks; `values` itself in a single process."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    distributed.all_reduce(values)
    return values / distributed.get_world_size()
