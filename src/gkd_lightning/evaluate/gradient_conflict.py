"""Do two losses pull an encoder the same way? The cosine between their gradients, overall and block by block."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

ENCODER = "encoder"
"""All parameters together."""
PATCH_EMBEDDING = "patch_embedding"

_BLOCK = re.compile(r"(?:^|\.)(?:blocks|stages|layers)[._](\d+)(?:[._]|$)")
_STEM = re.compile(r"(?:^|\.)(?:patch_embed|stem|conv_stem|bn1|conv1)(?:[._]|$)")


class Conflict(NamedTuple):
    """Two gradients with respect to the same parameters."""

    cosine: float
    """In [-1, 1]; below 0 a step along one raises the other loss. NaN where one of them vanishes."""
    task_norm: float
    distillation_norm: float


def part_of(name: str) -> str | None:
    """The part of an encoder that a parameter belongs to: ``block_3``, ``patch_embedding``, or None.

    A hierarchical backbone's stages count as blocks. Position embedding, class token and final norm are in no part;
    they count in the whole alone.
    """
    if found := _BLOCK.search(name):
        return f"block_{found.group(1)}"
    return PATCH_EMBEDDING if _STEM.search(name) else None


def gradients(loss: Tensor, parameters: Mapping[str, Tensor], keep_graph: bool = False) -> dict[str, Tensor]:
    """Gradient of a scalar with respect to every parameter, zeros where the loss does not reach it.

    No ``.grad`` is touched, and no hook of distributed training is called.
    """
    found = torch.autograd.grad(loss, list(parameters.values()), retain_graph=keep_graph, allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient.detach()
        for (name, parameter), gradient in zip(parameters.items(), found, strict=True)
    }


def conflicts(task: Mapping[str, Tensor], distillation: Mapping[str, Tensor]) -> dict[str, Conflict]:
    """Conflict of the whole encoder and of its parts.

    Args:
        task: gradient of the task's loss by name of the parameter.
        distillation: gradient of the distillation's loss, same names and shapes.

    Returns:
        By part, see `part_of`; the whole comes first, then the patch embedding, then the blocks in their order.
    """
    sums = torch.stack([_products(task[name].double(), distillation[name].double()) for name in task]).tolist()
    totals: dict[str, list[float]] = {ENCODER: [0.0, 0.0, 0.0]}
    for name, products in zip(task, sums, strict=True):
        for part in (ENCODER, part_of(name)):
            if part is not None:
                before = totals.setdefault(part, [0.0, 0.0, 0.0])
                totals[part] = [old + new for old, new in zip(before, products, strict=True)]
    return {part: _conflict(*totals[part]) for part in sorted(totals, key=_place)}


def _products(task: Tensor, distillation: Tensor) -> Tensor:
    return torch.stack([(task * distillation).sum(), task.square().sum(), distillation.square().sum()])


def _conflict(product: float, task: float, distillation: float) -> Conflict:
    norms = math.sqrt(task), math.sqrt(distillation)
    return Conflict(product / (norms[0] * norms[1]) if min(norms) > 0 else math.nan, *norms)


def _place(part: str) -> int:
    return {ENCODER: -2, PATCH_EMBEDDING: -1}.get(part, int(part.rpartition("_")[2]) if part[-1].isdigit() else 0)
