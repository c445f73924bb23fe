"""Frozen means frozen: eval mode, no gradients, no optimiser, no checkpoint."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


class Frozen(nn.Module, Generic[M]):
    """Wrap a module that must never change. It follows its parent to another device or dtype, nothing else.

    `train()` leaves it in eval mode, its parameters ask for no gradients, and its weights are neither written to
    nor expected from a state dict (they are rebuilt from their own file).
    """

    module: M

    def __init__(self, module: M) -> None:
        super().__init__()
        self.module = module.eval().requires_grad_(False)
        self.register_load_state_dict_post_hook(_forgive_missing)  # type: ignore[no-untyped-call]

    def train(self, mode: bool = True) -> Frozen[M]:
        """Stay in eval mode whatever the trainer asks for."""
        super().train(False)
        return self

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Add nothing to the parent's state dict."""
        return {} if destination is None else destination

    @torch.no_grad()
    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the wrapped module without recording a graph.

        `no_grad` and not `inference_mode`: inference tensors cannot be keys or targets of a differentiated loss.
        """
        return self.module(*args, **kwargs)


def _forgive_missing(frozen: nn.Module, incompatible: Any) -> None:
    # Keys arrive with the parent's prefix in front of "module.".
    own = tuple(name for name, _ in (*frozen.named_parameters(), *frozen.named_buffers()))
    incompatible.missing_keys[:] = [key for key in incompatible.missing_keys if not key.endswith(own)]
