"""Deformable attention as two Triton kernels: only its arguments are kept for the backward pass.

Softmax, places, bilinear sampling and the weighted sum of a query happen in registers. Left to torch's operations, the
samples of all queries are written and read several times in each direction. The formula is
`sampling.plain_samples`. Needs the package triton, so it is imported only where a GPU is at work.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS = 16
"""Queries, of one head each, of a program."""


@triton.jit
def _shares(logits, live, PLACES: tl.constexpr, COLUMNS: tl.constexpr):
    """Softmax over the places of each row, (ROWS, COLUMNS); 0 in the columns that there are too many."""
    column = tl.arange(0, COLUMNS)[None, :]
    inside = live[:, None] & (column < PLACES)
    values = tl.load(logits[:, None] + column, mask=inside, other=0.0).to(tl.float32)
    values = tl.where(column < PLACES, values, -float("inf"))
    values = tl.exp(values - tl.max(values, 1)[:, None])
    return values / tl.sum(values, 1)[:, None]


@triton.jit
def _place(offset, live, index, centre_x, centre_y, height, width):
    """Column and row, in a map's pixels, of each query's place number `index`."""
    at = offset + index * 2
    x = ((centre_x + 1) * width - 1) * 0.5 + tl.load(at, mask=live, other=0.0).to(tl.float32)
    y = ((centre_y + 1) * height - 1) * 0.5 + tl.load(at + 1, mask=live, other=0.0).to(tl.float32)
    # Far outside everything is 0; bounded, the numbers stay what an int32 holds.
    x = tl.minimum(tl.maximum(x, -2.0), width + 1.0)
    y = tl.minimum(tl.maximum(y, -2.0), height + 1.0)
    return x, y


@triton.jit
def _corner(row, column, height, width, live):
    """Number of a pixel in its map, and whether there is one."""
    inside = live & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return row * width + column, inside


@triton.jit
def _forward_kernel(
    value, looks, centre, table, output, rows, count, heads,
    DIM: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr,
    CHANNELS: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    PLACES: tl.constexpr = LEVELS * POINTS
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    live = row < rows
    query, head = row // heads, row % heads
    image, own = query // count, query % count
    centre_x = tl.load(centre + own * 2, mask=live, other=0.0)
    centre_y = tl.load(centre + own * 2 + 1, mask=live, other=0.0)
    offset = looks + (query * heads * 3 + head * 2) * PLACES
    logits = looks + (query * heads * 3 + heads * 2 + head) * PLACES
    share = _shares(logits, live, PLACES, COLUMNS)
    column = tl.arange(0, COLUMNS)[None, :]
    channel = tl.arange(0, CHANNELS)[None, :]
    named = channel < DIM
    total = tl.zeros([ROWS, CHANNELS], dtype=tl.float32)
    for level in range(LEVELS):
        height = tl.load(table + level * 3)
        width = tl.load(table + level * 3 + 1)
        first = tl.load(table + level * 3 + 2)
        pixels = value + ((image * count + first) * heads + head)[:, None] * DIM + channel
        for point in tl.static_range(POINTS):
            index = level * POINTS + point
            x, y = _place(offset, live, index, centre_x, centre_y, height, width)
            left, top = tl.floor(x), tl.floor(y)
            by_x, by_y = x - left, y - top
            west, north = left.to(tl.int32), top.to(tl.int32)
            sampled = tl.zeros([ROWS, CHANNELS], dtype=tl.float32)
            for corner in tl.static_range(4):
                down, right = corner // 2, corner % 2
                pixel, inside = _corner(north + down, west + right, height, width, live)
                weight = (by_y if down else 1 - by_y) * (by_x if right else 1 - by_x)
                found = tl.load(pixels + pixel[:, None] * heads * DIM, mask=inside[:, None] & named, other=0.0)
                sampled += weight[:, None] * found.to(tl.float32)
            total += tl.sum(tl.where(column == index, share, 0.0), 1)[:, None] * sampled
    at = output + row[:, None] * DIM + channel
    tl.store(at, total.to(output.dtype.element_ty), mask=live[:, None] & named)


@triton.jit
def _backward_kernel(
    gradient, value, looks, centre, table, by_value, by_looks, rows, count, heads,
    DIM: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr,
    CHANNELS: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    PLACES: tl.constexpr = LEVELS * POINTS
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    live = row < rows
    query, head = row // heads, row % heads
    image, own = query // count, query % count
    centre_x = tl.load(centre + own * 2, mask=live, other=0.0)
    centre_y = tl.load(centre + own * 2 + 1, mask=live, other=0.0)
    offset = looks + (query * heads * 3 + head * 2) * PLACES
    logits = looks + (query * heads * 3 + heads * 2 + head) * PLACES
    share = _shares(logits, live, PLACES, COLUMNS)
    column = tl.arange(0, COLUMNS)[None, :]
    channel = tl.arange(0, CHANNELS)[None, :]
    named = channel < DIM
    wanted = tl.load(gradient + row[:, None] * DIM + channel, mask=live[:, None] & named, other=0.0).to(tl.float32)
    by_share = tl.zeros([ROWS, COLUMNS], dtype=tl.float32)
    for level in range(LEVELS):
        height = tl.load(table + level * 3)
        width = tl.load(table + level * 3 + 1)
        first = tl.load(table + level * 3 + 2)
        start = ((image * count + first) * heads + head)[:, None] * DIM + channel
        for point in tl.static_range(POINTS):
            index = level * POINTS + point
            x, y = _place(offset, live, index, centre_x, centre_y, height, width)
            left, top = tl.floor(x), tl.floor(y)
            by_x, by_y = x - left, y - top
            west, north = left.to(tl.int32), top.to(tl.int32)
            own_share = tl.sum(tl.where(column == index, share, 0.0), 1)
            along_x = tl.zeros([ROWS], dtype=tl.float32)
            along_y = tl.zeros([ROWS], dtype=tl.float32)
            along_share = tl.zeros([ROWS], dtype=tl.float32)
            for corner in tl.static_range(4):
                down, right = corner // 2, corner % 2
                pixel, inside = _corner(north + down, west + right, height, width, live)
                weight_y = by_y if down else 1 - by_y
                weight_x = by_x if right else 1 - by_x
                at = start + pixel[:, None] * heads * DIM
                mask = inside[:, None] & named
                found = tl.load(value + at, mask=mask, other=0.0).to(tl.float32)
                agreement = tl.sum(found * wanted, 1)
                along_share += weight_x * weight_y * agreement
                along_x += (weight_y if right else -weight_y) * agreement
                along_y += (weight_x if down else -weight_x) * agreement
                tl.atomic_add(by_value + at, (own_share * weight_x * weight_y)[:, None] * wanted, mask=mask)
            by_share = tl.where(column == index, along_share[:, None], by_share)
            place = by_looks + (query * heads * 3 + head * 2) * PLACES + index * 2
            tl.store(place, (own_share * along_x).to(by_looks.dtype.element_ty), mask=live)
            tl.store(place + 1, (own_share * along_y).to(by_looks.dtype.element_ty), mask=live)
    by_logit = share * (by_share - tl.sum(share * by_share, 1)[:, None])
    logit = by_looks + (query * heads * 3 + heads * 2 + head)[:, None] * PLACES + column
    tl.store(logit, by_logit.to(by_looks.dtype.element_ty), mask=live[:, None] & (column < PLACES))


@torch.library.custom_op("gkd_lightning::fused_samples", mutates_args=())
def fused_samples(value: Tensor, looks: Tensor, centre: Tensor, table: Tensor) -> Tensor:
    """`sampling.deformable_samples` on a GPU.

    Args:
        value: (B, N, H, D).
        looks: (B, N, 3 * H * L * P).
        centre: (N, 2) float32, as in `Levels`.
        table: (L, 3) int32, as in `Levels`.

    Returns:
        (B, N, H * D), of the dtype of `value`.
    """
    value, looks = value.contiguous(), looks.contiguous()
    output = torch.empty_like(value)
    _launch(_forward_kernel, (value, looks, centre, table, output), value, looks, table)
    return output.flatten(2)


@fused_samples.register_fake
def _(value: Tensor, looks: Tensor, centre: Tensor, table: Tensor) -> Tensor:
    return value.new_empty(value.shape[0], value.shape[1], value.shape[2] * value.shape[3])


@torch.library.custom_op("gkd_lightning::fused_samples_backward", mutates_args=())
def _fused_samples_backward(
    gradient: Tensor, value: Tensor, looks: Tensor, centre: Tensor, table: Tensor
) -> tuple[Tensor, Tensor]:
    gradient, value, looks = gradient.contiguous(), value.contiguous(), looks.contiguous()
    by_value = torch.zeros_like(value, dtype=torch.float32)  # many queries add to a pixel
    by_looks = torch.empty_like(looks)
    arguments = (gradient, value, looks, centre, table, by_value, by_looks)
    _launch(_backward_kernel, arguments, value, looks, table)
    return by_value.to(value.dtype), by_looks


@_fused_samples_backward.register_fake
def _(gradient: Tensor, value: Tensor, looks: Tensor, centre: Tensor, table: Tensor) -> tuple[Tensor, Tensor]:
    contiguous = torch.contiguous_format
    return torch.empty_like(value, memory_format=contiguous), torch.empty_like(looks, memory_format=contiguous)


def _remember(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    return (*_fused_samples_backward(gradient, *ctx.saved_tensors), None, None)


fused_samples.register_autograd(_differentiate, setup_context=_remember)


def _launch(kernel: Any, arguments: tuple[Tensor, ...], value: Tensor, looks: Tensor, table: Tensor) -> None:
    batch, count, heads, dim = value.shape
    levels, rows, places = len(table), batch * count * heads, looks.shape[2] // (3 * heads)
    if rows == 0:
        return
    kernel[(triton.cdiv(rows, _ROWS),)](
        *arguments, rows, count, heads,
        DIM=dim, LEVELS=levels, POINTS=places // levels,
        CHANNELS=triton.next_power_of_2(dim), COLUMNS=triton.next_power_of_2(places), ROWS=_ROWS,
    )  # fmt: skip
