"""Which attention a transformer computes on a CPU: fused, tiled, or matmul, softmax, matmul."""

from __future__ import annotations

from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from torch import nn

from gkd_lightning.encoders.tiled_attention import TiledAttention

_WORTH_FUSING = 128
"""Tokens from which the fused kernel is quicker in fp32; at 64 there is no difference."""
_WORTH_TILING = 256
"""Tokens from which tiles pay in bf16: as quick there as the plain operations, for less memory."""
_BY_TIMM = "_fused_attn_by_timm"
"""Attribute of a model: what timm had chosen layer by layer, kept for as long as the choice is made here."""


def suit_attention(model: nn.Module, device: torch.device, tokens: int) -> None:
    """Let timm's attention layers compute what is quicker on a CPU at the precision in force.

    In fp32 the fused kernel wins on long sequences (1,025 tokens: forward 2.7 times, training step 1.5 times as quick
    as the three plain operations) and keeps no (N, N) weights for the backward pass. In bf16 its backward pass takes
    longer than theirs; tiles take as long as they do and keep no weights (stage 1 at 1,024 tokens: a
    fifth less memory). Short sequences and compiled blocks are left plain in bf16. On a GPU timm's own choice stands;
    after a pass on a CPU it comes back.

    Args:
        model: a timm backbone.
        device: where it runs.
        tokens: length of its sequences.
    """
    if device.type != "cpu":
        _give_back(model)
        return
    parameter = next(model.parameters(), None)
    low_precision = torch.is_autocast_enabled("cpu") or (parameter is not None and parameter.dtype != torch.float32)
    tiled = low_precision and tokens >= _WORTH_TILING and not _is_compiled(model)
    fused = not low_precision and tokens >= _WORTH_FUSING
    vars(model).setdefault(_BY_TIMM, [layer.fused_attn for layer in _attention(model)])
    for layer in _attention(model):
        setattr(layer, "fused_attn", fused or tiled)  # noqa: B010 - an attribute of timm's, unknown to the type checker
        if tiled:
            layer.__dict__["forward"] = MethodType(_in_tiles, layer)
        else:
            layer.__dict__.pop("forward", None)


def unfuse_attention_on_cpu(model: nn.Module) -> None:
    """Plain attention in a machine without a GPU, for layers whose learned bias the fused kernel does not take."""
    if torch.cuda.is_available():
        return
    for layer in _attention(model):
        setattr(layer, "fused_attn", False)  # noqa: B010


def _give_back(model: nn.Module) -> None:
    chosen = vars(model).pop(_BY_TIMM, None)
    if chosen is None:  # it has not been on a CPU
        return
    for layer, fused in zip(_attention(model), chosen, strict=True):
        setattr(layer, "fused_attn", fused)  # noqa: B010
        layer.__dict__.pop("forward", None)


def _in_tiles(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    # Around the layer and not around the model: a block that is computed again in the backward pass comes by here too.
    with TiledAttention():
        return type(layer).forward(layer, *args, **kwargs)


def _is_compiled(model: nn.Module) -> bool:
    return any(getattr(module, "_compiled_call_impl", None) is not None for module in model.modules())


def _attention(model: nn.Module) -> Iterator[nn.Module]:
    return (module for module in model.modules() if hasattr(module, "fused_attn"))
