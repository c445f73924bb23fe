"""What the processes of a distributed run agree on."""

from __future__ import annotations

from torch import Tensor, distributed


def sum_over_ranks(values: Tensor) -> Tensor:
    """Sum of `values` over all ranks, in place; a single process, or a tensor without values, leaves them."""
    if _alone() or values.is_meta:
        return values
    distributed.all_reduce(values)
    return values


def mean_over_ranks(values: Tensor) -> Tensor:
    """Mean of `values` over all ranks; `values` itself in a single process."""
    return values if _alone() else sum_over_ranks(values) / distributed.get_world_size()


def as_first_rank(values: Tensor) -> Tensor:
    """The first rank's `values`, in place."""
    if not _alone():
        distributed.broadcast(values, src=0)
    return values


def _alone() -> bool:
    return not (distributed.is_available() and distributed.is_initialized())
