"""A GPU that need not be there: tensors without values, and a card's autocast, which is not a processor's.

Forward passes only; torch wants a real device for the backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar
from unittest.mock import patch

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from gkd_lightning.segment.levels import levels_of

M = TypeVar("M", bound=nn.Module)


@contextmanager
def fake_card() -> Iterator[None]:
    """Inside it, tensors have no values, and autocast to bf16 is on."""
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    levels_of.cache_clear()  # tensors of another mode
    keys = patch.object(FakeTensor, "tolist", lambda each: [0] * len(each))  # what the host reads of a batch
    with FakeTensorMode(), keys:
        torch.set_autocast_enabled("cuda", True)
        torch.set_autocast_dtype("cuda", torch.bfloat16)
        try:
            yield
        finally:
            torch.set_autocast_enabled("cuda", before[0])
            torch.set_autocast_dtype("cuda", before[1])
            torch.clear_autocast_cache()
            levels_of.cache_clear()


def on_card(module: M) -> M:
    """A module that was built where there are values, some of which timm reads, without them."""
    moved: M = module._apply(lambda each: torch.empty(each.shape, dtype=each.dtype, device="cuda"))
    return moved
