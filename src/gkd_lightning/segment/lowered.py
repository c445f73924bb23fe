"""A module's parameters in another precision by one cast, where autocast would make one of each at every step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


def precision_in_force(module: nn.Module, device: torch.device) -> torch.dtype:
    """That of autocast where it is on, else that of the module's parameters."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return next(module.parameters()).dtype


def call_in(dtype: torch.dtype, module: nn.Module, *arguments: Any) -> Any:
    """Call a module with all of its parameters in `dtype`; gradients reach the parameters in their own.

    Norms, sums and residuals are then in `dtype` too, each computed in float32 and rounded once, and nothing is cast
    between two layers. Autocast has to be off.
    """
    if all(parameter.dtype == dtype for parameter in module.parameters()):
        return module(*arguments)
    return functional_call(module, _lowered(module, dtype), arguments, tie_weights=False)


def _lowered(module: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    parameters = dict(module.named_parameters())
    together = torch.cat([parameter.flatten() for parameter in parameters.values()]).to(dtype)
    parts = together.split([parameter.numel() for parameter in parameters.values()])
    return {name: part.view_as(own) for (name, own), part in zip(parameters.items(), parts, strict=True)}
