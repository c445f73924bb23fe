"""Which attention a transformer computes on a CPU: fused, matmul, softmax, matmul, or the same in tiles.

A tile is a few heads, whose (N, N) weights stay in the CPU's cache and are not kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.overrides import TorchFunctionMode

_WORTH_FUSING = 128
"""Tokens from which the fused kernel is quicker in fp32."""
_WORTH_TILING = 256
"""Tokens from which tiles pay in bf16: as quick there as the plain operations, for less memory."""
_TILE = 4 * 2**20
"""Bytes of weights in work at a time; two such tiles in the backward pass."""
_BY_TIMM = "_fused_attn_by_timm"
"""Attribute of a model: what timm had chosen layer by layer, kept for as long as the choice is made here."""


def suit_attention(model: nn.Module, device: torch.device, tokens: int) -> None:
    """Let timm's attention layers compute what is quicker on a CPU at the precision in force.

    In fp32 the fused kernel wins on long sequences and keeps no (N, N) weights for the backward pass. In bf16 its
    backward pass takes longer than that of the three plain operations; tiles take as long as they do and keep no
    weights. Short sequences and compiled blocks are left plain in bf16. On a GPU timm's own choice stands; after a pass
    on a CPU it comes back.

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


def tiled_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax attention, scaled by 1/sqrt(D), without mask and dropout.

    The numbers are those of matmul, softmax, matmul in the dtype of the arguments. The backward pass, which can be run
    once, computes the weights again.

    Args:
        query: (B, H, N, D).
        key: (B, H, M, D).
        value: (B, H, M, D).

    Returns:
        (B, H, N, D) attended values.
    """
    heads = (each.flatten(0, 1) for each in (query * query.shape[-1] ** -0.5, key, value))
    attended: Tensor = _Tiled.apply(*heads).unflatten(0, query.shape[:2])
    return attended


class TiledAttention(TorchFunctionMode):
    """Inside it a CPU's `scaled_dot_product_attention` is `tiled_attention` wherever that computes the same."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Take the call or let it pass."""
        options = kwargs or {}
        if func is F.scaled_dot_product_attention and _is_plain(*args, **options):
            return tiled_attention(*args)
        return func(*args, **options)


def _is_plain(*tensors: Tensor, **options: Any) -> bool:
    if len(tensors) != 3 or any(isinstance(option, Tensor) or option for option in options.values()):
        return False  # a mask, dropout, a scale of its own ...
    query, key, value = tensors
    alike: bool = query.dtype == key.dtype == value.dtype and query.shape == key.shape == value.shape
    return alike and query.ndim == 4 and query.device.type == "cpu"


class _Tiled(torch.autograd.Function):
    """(H, N, D), (H, M, D), (H, M, D) to (H, N, D), tile after tile of heads."""

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        attended = torch.empty_like(query)
        (room,) = _room(query, key, 1)
        for tile in _tiles(query, key):
            weights = _weights(query[tile], key[tile], room)
            torch.bmm(weights, value[tile], out=attended[tile])
        ctx.save_for_backward(query, key, value)
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_query, of_key, of_value = (torch.empty_like(each) for each in (query, key, value))
        room, more_room = _room(query, key, 2)
        for tile in _tiles(query, key):
            weights = _weights(query[tile], key[tile], room)
            torch.bmm(weights.mT, gradient[tile], out=of_value[tile])
            scores = torch.bmm(gradient[tile], value[tile].mT, out=more_room[: len(weights)])
            torch.ops.aten._softmax_backward_data.out(scores, weights, -1, scores.dtype, grad_input=scores)
            torch.bmm(scores, key[tile], out=of_query[tile])
            torch.bmm(scores.mT, query[tile], out=of_key[tile])
        return of_query, of_key, of_value


def _weights(query: Tensor, key: Tensor, room: Tensor) -> Tensor:
    scores = torch.bmm(query, key.mT, out=room[: len(query)])
    return torch.softmax(scores, -1, out=scores)


def _room(query: Tensor, key: Tensor, count: int) -> list[Tensor]:
    return [query.new_empty(_heads(query, key), query.shape[1], key.shape[1]) for _ in range(count)]


def _tiles(query: Tensor, key: Tensor) -> Iterator[slice]:
    size = _heads(query, key)
    return (slice(first, first + size) for first in range(0, len(query), size))


def _heads(query: Tensor, key: Tensor) -> int:
    return min(len(query), max(1, _TILE // (query.shape[1] * key.shape[1] * query.element_size())))
