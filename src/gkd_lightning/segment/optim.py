"""Optimiser and schedule of stage 2."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import Optimizer


def parameter_groups(
    model: nn.Module, encoder: nn.Module, lr: float, weight_decay: float, encoder_lr_scale: float
) -> list[dict[str, Any]]:
    """AdamW groups: everything decays except norms and embeddings (biases decay too).

    The pixel decoder's level embedding is a plain parameter and decays, as in the official frozen configurations;
    so does all of a trained encoder (there, the `backbone` key of the official rule wins over `norm`), whose learning
    rate is `encoder_lr_scale` times `lr`. Frozen parameters are left out.
    """
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    inside = {id(parameter) for parameter in encoder.parameters()}
    spared = (nn.LayerNorm, nn.GroupNorm, nn.Embedding)
    kept: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in inside:
                (kept if isinstance(module, spared) else decayed).append(parameter)
    groups = [
        {"params": decayed, "lr": lr, "weight_decay": weight_decay},
        {"params": kept, "lr": lr, "weight_decay": 0.0},
    ]
    if trained:
        groups.append({"params": trained, "lr": lr * encoder_lr_scale, "weight_decay": weight_decay})
    return groups


def poly_factor(steps: int, power: float = 0.9) -> Callable[[int], float]:
    """Factor of the learning rate at step i of `steps`: (1 - i / (steps - 1)) ** power, 0 in the last step.

    Source: mmengine 0.10.5 ``PolyLR`` as the official configurations call it (fixture d).
    """
    last = max(steps - 1, 1)
    return lambda step: float(max(1 - step / last, 0.0) ** power)


def anneal_weight_decay(optimizer: Optimizer, end: float, progress: float) -> None:
    """Set the decay of every group that decays: half a cosine from what it was at first to `end`.

    Source: the schedule in SoMA's published configuration (mmengine's ``CosineAnnealingParamScheduler``).

    Args:
        optimizer: its groups remember what they began with, also in a checkpoint.
        end: decay at the end of the training.
        progress: share of the training's steps that are done.
    """
    for group in optimizer.param_groups:
        first = group.setdefault("initial_weight_decay", group["weight_decay"])
        if first:
            group["weight_decay"] = end + (first - end) * (1 + math.cos(math.pi * progress)) / 2
