"""Which parameters a scalar depends on, found out without computing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call


def unreached(
    module: nn.Module, names: Iterable[str], inputs: tuple[Any, ...], scalar: Callable[[Any], Tensor]
) -> list[str]:
    """Parameters of `module` that get no gradient from ``scalar(module(*inputs))``.

    Left to learn, they would stop distributed training. One pass forward and back on the meta device tells.

    Args:
        module: is not changed; its mode decides what its forward does.
        names: parameters to ask about, as in `named_parameters`.
        inputs: on the meta device.
        scalar: from the module's output to one number.
    """
    asked, step = list(names), _Backwards(module, scalar)
    shadow = {name: value.detach().to("meta") for name, value in module.named_parameters()}
    shadow |= {name: value.detach().to("meta") for name, value in module.named_buffers()}
    for name in asked:
        shadow[name].requires_grad_()
    step.asked = [shadow[name] for name in asked]
    gradients = functional_call(step, {f"module.{name}": value for name, value in shadow.items()}, inputs)
    return [name for name, gradient in zip(asked, gradients, strict=True) if gradient is None]


class _Backwards(nn.Module):
    """Goes backwards while the weights are exchanged: recomputed activations ask for them once more."""

    asked: list[Tensor]

    def __init__(self, module: nn.Module, scalar: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.module, self.scalar = module, scalar

    def forward(self, *inputs: Any) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(self.scalar(self.module(*inputs)), self.asked, allow_unused=True)
