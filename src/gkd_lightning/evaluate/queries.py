"""Patches whose attention is worth a look: the surest, the most undecided, or some at equal distances."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Choice = Literal["confident", "diffuse", "grid"]
Place = tuple[int, int]
"""Row and column of a patch."""


def row_entropy(attention: Tensor) -> Tensor:
    """Entropy of every query's attention (N, M) in [0, 1]: 0 looks at one token, 1 at all alike. Returns (N,)."""
    attention = attention.float()
    entropy = -(attention * attention.clamp_min(1e-30).log()).sum(-1)
    return entropy / math.log(max(2, attention.shape[-1]))


def choose_queries(entropy: Tensor, grid: Place, how: Choice, count: int) -> list[Place]:
    """Patches of one image.

    Args:
        entropy: (N,) of every patch in row-major order.
        grid: rows and columns, N patches.
        how: ``confident`` takes the lowest entropies, ``diffuse`` the highest, both at least a sixth of the grid apart,
            so that neighbours do not show the same; ``grid`` the middles of equal cells, whatever the attention.
        count: how many, at most.

    Returns:
        Distinct places, the most typical first (``grid``: in reading order).
    """
    if how == "grid":
        columns = min(grid[1], math.ceil(math.sqrt(count * grid[1] / grid[0])))
        rows = min(grid[0], math.ceil(count / columns))
        return [(row, column) for row in _middles(grid[0], rows) for column in _middles(grid[1], columns)][:count]
    distance = max(1, min(grid) // 6)
    order = entropy.argsort(descending=how == "diffuse", stable=True).tolist()
    chosen: list[Place] = []
    for number in order:
        place = divmod(number, grid[1])
        if all(max(abs(place[0] - row), abs(place[1] - column)) > distance for row, column in chosen):
            chosen.append(place)
        if len(chosen) == count:
            break
    return chosen


def _middles(length: int, parts: int) -> list[int]:
    return [int((part + 0.5) * length / parts) for part in range(parts)]


def mean_distance(attention: Tensor, grid: Place) -> Tensor:
    """How far from the query the attention lies on average, in patches: (N, N) rows of an image's grid to (N,)."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1).double().to(attention.device)
    return (attention.double() * torch.cdist(places, places)).sum(-1)


def attention_agreement(attention: Tensor, similarity: Tensor) -> Tensor:
    """Correlation of every query's attention (N, M) with the similarity (N, M) of the same tokens: (N,) in [-1, 1]."""
    pair = [part.double() - part.double().mean(-1, keepdim=True) for part in (attention, similarity)]
    norms = [part.norm(dim=-1) for part in pair]
    correlation: Tensor = (pair[0] * pair[1]).sum(-1) / (norms[0] * norms[1]).clamp_min(1e-12)
    return correlation
