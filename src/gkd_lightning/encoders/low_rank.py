"""Low-rank additions to a network's linear layers (LoRA, Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

import copy
import math
import re
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Count, Natural, Positive, check_arguments

ATTENTION = ("qkv", "q_proj", "k_proj", "v_proj", "proj")
"""timm's names of an attention block's linear layers; EVA02 has three projections in the place of `qkv`, or one."""

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class LowRank:
    """How large the additions are, and where they go.

    Attributes:
        rank: r, the width of the bottleneck.
        alpha: the addition is multiplied by alpha / r.
        layers: last parts of the names of the linear layers, such as ``[qkv, proj, fc1, fc2]``; null takes those of
            attention.
        start: ``zero`` adds nothing at first. ``minor`` takes the r smallest singular components out of each weight and
            lets these learn, so that the large ones, what pretraining is surest of, stay as they are (SoMA,
            arXiv 2412.04077): also the same network at first, up to rounding.
        first_block: blocks of a plain transformer before this one stay as they are, as SoMA's first ones do.
    """

    rank: Count = 8
    alpha: Positive = 16.0
    layers: list[str] | None = None
    start: Literal["zero", "minor"] = "zero"
    first_block: Natural = 0

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self))


class LowRankUpdate(nn.Module):
    """``x -> scale * B A x`` with A (rank, in) as in the authors' code and B (out, rank) zero: no change at first."""

    def __init__(self, inputs: int, outputs: int, rank: Count, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.a = nn.Parameter(torch.empty(rank, inputs))
        self.b = nn.Parameter(torch.zeros(outputs, rank))
        # Drawn aside: what is drawn after it, such as a head, is that of a run without additions.
        with torch.random.fork_rng(devices=[]):
            nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return F.linear(F.linear(inputs, self.a), self.b) * self.scale

    @torch.no_grad()
    def take_minor(self, weight: Tensor) -> None:
        """Become the smallest singular components of an (out, in) weight, in place, and leave it the others."""
        whole = weight.double()
        wide = whole if len(whole) <= whole.shape[1] else whole.T
        # Of the smaller square: a third to a sixth of a decomposition's time, and as exact in double precision.
        squares, directions = torch.linalg.eigh(wide @ wide.T)  # ascending
        directions = directions[:, : len(self.a)]
        least = (squares[-1] * torch.finfo(torch.double).eps).clamp(min=torch.finfo(torch.double).tiny)  # of rounding
        roots = squares[: len(self.a)].maximum(least).pow(0.25)
        shares = (directions.T @ wide) / roots[:, None]
        directions = directions * roots
        left, right = (directions, shares) if wide is whole else (shares.T, directions.T)
        self.a.copy_(right / math.sqrt(self.scale))
        self.b.copy_(left / math.sqrt(self.scale))
        weight.copy_(whole - self.b.double() @ self.a.double() * self.scale)

    def weight(self) -> Tensor:
        """The same as one matrix (out, in)."""
        return self.b @ self.a * self.scale


class LowRankLinear(nn.Module):
    """A linear layer and a learned addition of low rank.

    `weight` is that of both together: EVA02's fused attention takes the layer's weight and never calls it.
    """

    def __init__(self, original: nn.Linear, rank: Count, scale: float) -> None:
        super().__init__()
        self.original = original
        self.update = LowRankUpdate(original.in_features, original.out_features, rank, scale)

    @property
    def weight(self) -> Tensor:
        """(out, in)."""
        return self.original.weight + self.update.weight()

    @property
    def bias(self) -> Tensor | None:
        """(out,), the original's."""
        return self.original.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        output: Tensor = self.original(inputs) + self.update(inputs)
        return output

    def merged(self) -> nn.Linear:
        """One plain layer that computes the same; the original is changed."""
        with torch.no_grad():
            self.original.weight.copy_(self.weight)
        return self.original


def add_low_rank(module: nn.Module, settings: LowRank) -> list[str]:
    """Put additions beside linear layers of `module`, in place.

    Returns:
        Names of the additions, which are to learn.

    Raises:
        UserError: no layer has such a name, the rank is larger than a layer, or there is no such block.
    """
    linear = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Linear)}
    blocks = {name: int(found[1]) for name in linear if (found := re.match(r"model\.blocks\.(\d+)\.", name))}
    if settings.first_block > max(blocks.values(), default=0):
        why = f"the encoder has blocks 0 to {max(blocks.values())}" if blocks else "it is no plain transformer"
        raise UserError(f"low_rank.first_block: {settings.first_block}, but {why}")
    linear = {
        name: layer for name, layer in linear.items() if blocks.get(name, settings.first_block) >= settings.first_block
    }
    there = {name.rpartition(".")[2] for name in linear}
    if settings.layers == []:
        raise UserError("low_rank.layers: name at least one, or leave it out for those of attention")
    wanted = ATTENTION if settings.layers is None else settings.layers
    unknown = [name for name in wanted if name not in there]
    if len(unknown) == len(wanted) or (unknown and settings.layers is not None):
        names = ", ".join(sorted(there)) or "none"
        raise UserError(f"low_rank.layers: no linear layer is named {' or '.join(unknown)} (names: {names})")
    updates = []
    for name, layer in linear.items():
        parent, _, last = name.rpartition(".")
        if last in wanted:
            if settings.rank > min(layer.in_features, layer.out_features):
                raise UserError(f"low_rank.rank: {settings.rank} is more than {name} has, {tuple(layer.weight.shape)}")
            changed = LowRankLinear(layer, settings.rank, settings.alpha / settings.rank)
            if settings.start == "minor":
                changed.update.take_minor(layer.weight)
            setattr(module.get_submodule(parent), last, changed)
            updates.append(f"{name}.update")
    return updates


def merged(module: M) -> M:
    """The module with every addition in its layer's weight; a copy if there is any, else `module` itself."""
    names = [name for name, layer in module.named_modules() if isinstance(layer, LowRankLinear)]
    plain = copy.deepcopy(module) if names else module
    for name in names:
        parent, _, last = name.rpartition(".")
        layer = plain.get_submodule(name)
        assert isinstance(layer, LowRankLinear)
        setattr(plain.get_submodule(parent), last, layer.merged())
    return plain
