"""Stage 1's optimiser groups, learning-rate rule and schedule (main.py:386-429 of the official code)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from torch import nn


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], weight_decay: float, decay_tokens: bool = True
) -> list[dict[str, object]]:
    """AdamW groups of the parameters that learn: no decay for norms, biases and LayerScale (one dimension or a name
    that ends in ``.bias``).

    `decay_tokens` is official: position embedding, class token and mask token ARE decayed, because the wrapper model
    hides timm's `no_weight_decay()`. False leaves them alone.
    """
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in named:
        if parameter.requires_grad:
            token = name.rsplit(".", 1)[-1] in {"pos_embed", "cls_token", "mask_token", "reg_token"}
            spared = parameter.ndim <= 1 or name.endswith(".bias") or (token and not decay_tokens)
            (undecayed if spared else decayed).append(parameter)
    return [{"params": undecayed, "weight_decay": 0.0}, {"params": decayed, "weight_decay": weight_decay}]


def scaled_learning_rate(base: float, batch_size: float, reference: int | None = 512) -> float:
    """Linear rule: base * batch_size / reference, with the global batch size; ``None`` leaves `base` alone.

    The official 5e-4 is 5e-4 in stage 1a (batch 512) and 1.25e-4 in stage 1b (batch 128).
    """
    return base if reference is None else base * batch_size / reference


def cosine_factor(
    total: int, base: float, minimum: float = 1e-5, late: int = 0, warmup: int = 0
) -> Callable[[int], float]:
    """Factor on `base` at epoch or step i: cosine from `base` towards `minimum` over `total`.

    Args:
        total: epochs or steps.
        base: learning rate at the start.
        minimum: learning rate that the cosine would reach at i = total.
        late: 1 reproduces the official scheduler, which is called one epoch late: epochs 0 and 1 share the base
            rate (golden fixture d).
        warmup: linear ramp over so many epochs or steps.
    """

    def factor(index: int) -> float:
        if index < warmup:
            return (index + 1) / (warmup + 1)
        progress = max(index - late - warmup, 0) / max(1, total - warmup)
        return (minimum + 0.5 * (base - minimum) * (1 + math.cos(math.pi * min(progress, 1.0)))) / base

    return factor
