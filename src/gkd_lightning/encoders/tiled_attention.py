"""Attention of a few heads at a time, whose (N, N) weights stay in a CPU's cache and are not kept.

Why: in bf16 the backward pass of torch's fused kernel for CPUs takes longer than that of the three plain operations,
which keep the weights of all heads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.overrides import TorchFunctionMode

_TILE = 4 * 2**20
"""Bytes of weights in work at a time; two such tiles in the backward pass. 1 to 8 MiB are equally quick."""


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
