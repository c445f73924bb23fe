"""Which attention a transformer computes on a CPU: fused, or matmul, softmax, matmul."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

_WORTH_FUSING = 128
"""Tokens from which the fused kernel is quicker in fp32; at 64 there is no difference."""


def suit_attention(model: nn.Module, device: torch.device, tokens: int) -> None:
    """Set the switch of timm's attention layers to what is quicker on a CPU at the precision in force.

    In fp32 the fused kernel wins on long sequences (1,025 tokens: forward 2.7 times, training step 1.5 times as
    quick) and keeps no (N, N) weights for the backward pass. In bf16 its backward pass takes more than twice as
    long as the three plain operations. On a GPU timm's own choice stands.

    Args:
        model: a timm backbone.
        device: where it runs.
        tokens: length of its sequences.
    """
    if device.type != "cpu":
        return
    parameter = next(model.parameters(), None)
    low_precision = torch.is_autocast_enabled("cpu") or (parameter is not None and parameter.dtype != torch.float32)
    for layer in _attention(model):
        setattr(layer, "fused_attn", tokens >= _WORTH_FUSING and not low_precision)  # noqa: B010 - an attribute of timm's, unknown to the type checker


def unfuse_attention_on_cpu(model: nn.Module) -> None:
    """Plain attention in a machine without a GPU, for layers whose learned bias the fused kernel does not take."""
    if torch.cuda.is_available():
        return
    for layer in _attention(model):
        setattr(layer, "fused_attn", False)  # noqa: B010


def _attention(model: nn.Module) -> Iterator[nn.Module]:
    return (module for module in model.modules() if hasattr(module, "fused_attn"))
