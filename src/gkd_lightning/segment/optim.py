"""Optimiser and schedule of stage 2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


def parameter_groups(
    head: nn.Module, encoder: nn.Module | None, lr: float, weight_decay: float, encoder_lr_scale: float
) -> list[dict[str, Any]]:
    """AdamW groups: everything decays except norms and embeddings (biases decay too).

    The pixel decoder's level embedding is a plain parameter and decays, as in the official frozen configurations;
    so does all of a trained encoder (there, the `backbone` key of the official rule wins over `norm`).

    Args:
        head: the Mask2Former head.
        encoder: a trained encoder, None if it is frozen.
        lr: learning rate of the head.
        weight_decay: of the decaying groups.
        encoder_lr_scale: the encoder's learning rate in units of `lr`.
    """
    spared = (nn.LayerNorm, nn.GroupNorm, nn.Embedding)
    kept: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    for module in head.modules():
        for parameter in module.parameters(recurse=False):
            (kept if isinstance(module, spared) else decayed).append(parameter)
    groups = [
        {"params": decayed, "lr": lr, "weight_decay": weight_decay},
        {"params": kept, "lr": lr, "weight_decay": 0.0},
    ]
    if encoder is not None:
        trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
        groups.append({"params": trained, "lr": lr * encoder_lr_scale, "weight_decay": weight_decay})
    return groups


def poly_factor(steps: int, power: float = 0.9) -> Callable[[int], float]:
    """Factor of the learning rate at step i of `steps`: (1 - i / (steps - 1)) ** power, 0 in the last step.

    Source: mmengine 0.10.5 ``PolyLR`` as the official configurations call it (fixture d).
    """
    last = max(steps - 1, 1)
    return lambda step: float(max(1 - step / last, 0.0) ** power)
