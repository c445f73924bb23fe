"""Frozen means frozen: eval mode, no gradients, no optimiser, no checkpoint; as a whole, or all but named parts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
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

    def kept_state(self) -> dict[str, torch.Tensor]:
        """What never changes and is in no state dict, under the wrapped module's own names."""
        return dict(self.module.state_dict())


class PartlyFrozen(Frozen[M]):
    """Frozen, all but some submodules: these learn, follow `train()`, and alone are in the state dict.

    Nothing records a graph before the first of them, since nothing before it asks for a gradient.

    Args:
        module: what is wrapped.
        learning: dotted names of its submodules that learn, none inside another.
    """

    def __init__(self, module: M, learning: Iterable[str]) -> None:
        super().__init__(module)
        self.learning = tuple(learning)
        for part in self._parts().values():
            part.requires_grad_(True)
        self.train()

    def _parts(self) -> dict[str, nn.Module]:
        return {name: self.module.get_submodule(name) for name in self.learning}

    def train(self, mode: bool = True) -> PartlyFrozen[M]:
        """Only the parts that learn follow."""
        super().train(mode)
        for part in self._parts().values():
            part.train(mode)
        return self

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Add the parts that learn."""
        state = OrderedDict() if destination is None else destination
        for name, part in self._parts().items():
            part.state_dict(destination=state, prefix=f"{prefix}module.{name}.", keep_vars=keep_vars)
        return state

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the wrapped module."""
        return self.module(*args, **kwargs)

    def kept_state(self) -> dict[str, torch.Tensor]:
        """All but the parts that learn."""
        learning = tuple(f"{name}." for name in self.learning)
        return {name: value for name, value in self.module.state_dict().items() if not name.startswith(learning)}


def _forgive_missing(frozen: nn.Module, incompatible: Any) -> None:
    # Keys arrive with the parent's prefix in front of "module.".
    assert isinstance(frozen, Frozen)
    learning = set(frozen.state_dict())
    own = (name for name, _ in (*frozen.named_parameters(), *frozen.named_buffers()))
    forgiven = tuple(name for name in own if name not in learning)
    incompatible.missing_keys[:] = [key for key in incompatible.missing_keys if not key.endswith(forgiven)]
