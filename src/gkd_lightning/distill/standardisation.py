"""A teacher's tokens brought to a common scale by statistics of the first steps: mean, PHI-S, whitening."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from gkd_lightning.distill.hadamard import hadamard
from gkd_lightning.encoders import Tokens
from gkd_lightning.errors import UserError
from gkd_lightning.precision import full_precision
from gkd_lightning.ranges import Count
from gkd_lightning.ranks import as_first_rank, sum_over_ranks

Rule = Literal["mean_std", "phi_s", "pca_whitening", "zca_whitening"]
"""See `matrix_of`."""
FLOOR = 1e-6
"""Share of the mean variance that no direction's variance is taken to lie below."""
STEPS = 50
"""That are counted if nothing is said."""
_AT_ONCE = 16384
"""Tokens whose products are summed in float64 at a time."""


def matrix_of(rule: Rule, covariance: Tensor) -> Tensor:
    """What centred tokens are multiplied by, in float64 on the host: (D,) channel by channel, else (D, D).

    With the covariance ``U diag(l) U^T``, eigenvalues descending, every eigenvector's largest entry positive:

    * ``mean_std``: one over every channel's deviation;
    * ``phi_s``: ``H U^T / sqrt(mean(l))``, with a Hadamard matrix H of rows of length 1: a rotation after which every
      channel has the same variance, and one number that makes it 1 (Ranzinger et al., "PHI-S", arXiv 2410.01680);
    * ``pca_whitening``: ``diag(l)^-1/2 U^T``;
    * ``zca_whitening``: ``U diag(l)^-1/2 U^T``, the whitening that stays closest to the tokens.

    Args:
        covariance: (D, D), of ``mean_std`` its (D,) diagonal.
    """
    if rule == "mean_std":
        inverse: Tensor = 1 / _floored(covariance).sqrt()
        return inverse
    values, vectors = torch.linalg.eigh(covariance.double().cpu())
    values, vectors = values.flip(0), vectors.flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    back = (vectors * largest.sign()).T
    if rule == "phi_s":
        order = len(covariance)
        matrix = hadamard(order)
        assert matrix is not None, "looked for at the start"
        rotated: Tensor = torch.from_numpy(matrix) @ back
        return rotated / math.sqrt(order * _mean_variance(values))
    scaled = back / _floored(values).sqrt().unsqueeze(1)
    whitened: Tensor = scaled if rule == "pca_whitening" else back.T @ scaled
    return whitened


def _mean_variance(variances: Tensor) -> float:
    return float(variances.mean()) or 1.0  # tokens that never differ stay 0


def _floored(variances: Tensor) -> Tensor:
    return variances.clamp_min(FLOOR * _mean_variance(variances))


class Standardisation(nn.Module):
    """Vectors of width D, centred and multiplied by the matrix of a rule, see `matrix_of`.

    Mean and covariance are those of the vectors of the first `steps` optimiser steps, over all micro-batches and ranks,
    summed in float64; from then on they are fixed. Until then vectors are centred and divided by one number, the root
    of the mean variance, both of the steps before (the very first step: as they are), so that no rotation changes
    under the heads but once. All of it is in the checkpoint.

    Args:
        rule: by name.
        dim: D.
        steps: that are counted.
    """

    count: Tensor
    mean: Tensor
    scatter: Tensor
    centre: Tensor
    matrix: Tensor

    def __init__(self, rule: Rule, dim: int, steps: int) -> None:
        super().__init__()
        self.rule, self.steps = rule, steps
        self._counts = False
        shape = (dim,) if rule == "mean_std" else (dim, dim)
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("scatter", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("matrix", torch.ones(dim) if len(shape) == 1 else torch.eye(dim))

    def begin_step(self, step: int) -> None:
        """Take in what the steps before have counted; `step` counts from 0, before its first micro-batch."""
        self._counts = step < self.steps
        if not 0 < step <= self.steps:
            return
        covariance = self.scatter / self.count
        if step == self.steps:
            matrix = matrix_of(self.rule, covariance)
        else:
            variances = covariance if covariance.ndim == 1 else covariance.diagonal()
            scale = torch.full_like(variances, 1 / math.sqrt(_mean_variance(variances)))
            matrix = scale if covariance.ndim == 1 else scale.diag()
        self.centre.copy_(self.mean)
        self.matrix.copy_(matrix)
        as_first_rank(self.matrix)  # whose processors may round the decomposition otherwise

    def forward(self, vectors: Tensor) -> Tensor:
        """(..., D) float32 of (..., D); in the steps that are counted these are counted, too."""
        if self._counts and not vectors.is_meta:
            self._count(vectors.detach().flatten(0, -2))
        centred = vectors.float() - self.centre
        if self.matrix.ndim == 1:
            return centred * self.matrix
        with full_precision(vectors.device.type):
            return centred @ self.matrix.T

    def _count(self, vectors: Tensor) -> None:
        """Chan, Golub and LeVeque's update of mean and scatter by a batch, that of all ranks."""
        parts, square = vectors.split(_AT_ONCE), self.matrix.ndim == 2
        sums = torch.stack([part.double().sum(0) for part in parts]).sum(0)
        sums = sum_over_ranks(torch.cat([sums, sums.new_tensor([len(vectors)])]))
        mean, count = sums[:-1] / sums[-1], sums[-1]
        scatter = torch.zeros_like(self.scatter)
        for part in parts:
            centred = part.double() - mean
            scatter += centred.T @ centred if square else centred.square().sum(0)
        sum_over_ranks(scatter)
        apart, whole = mean - self.mean, self.count + count
        between = torch.outer(apart, apart) if square else apart.square()
        self.scatter += scatter + between * (self.count * count / whole)
        self.mean += apart * (count / whole)
        self.count.copy_(whole)


class TokenStandardisation(nn.Module):
    """A teacher's class token and patch tokens, each by statistics of its own kind.

    Args:
        rule: by name.
        dim: width of the tokens.
        steps: see `Standardisation`; None are 50, or a twentieth of a training that has fewer than 1,000.

    Raises:
        UserError: `phi_s` for a width without a Hadamard matrix.
    """

    def __init__(self, rule: Rule, dim: int, steps: Count | None = None) -> None:
        super().__init__()
        if rule == "phi_s" and hadamard(dim) is None:
            others = ", ".join(each for each in get_args(Rule) if each != rule)
            raise UserError(
                f"standardise: phi_s needs a Hadamard matrix as wide as the tokens, and none is known here of order "
                f"{dim}; give {others}, or none"
            )
        self.rule, self.dim, self.given = rule, dim, steps
        self.cls, self.patches = (Standardisation(rule, dim, steps or STEPS) for _ in range(2))

    def begin_fit(self, steps: float) -> None:
        """Called before a training of so many steps.

        Raises:
            UserError: it ends before its statistics do.
        """
        if self.given is not None and self.given >= steps:
            raise UserError(f"statistics_steps: {self.given}, but the training has {steps}; give fewer, or null")
        if self.given is None:
            self.cls.steps = self.patches.steps = int(max(1, min(STEPS, steps // 20)))

    def begin_step(self, step: int) -> None:
        """See `Standardisation.begin_step`."""
        self.cls.begin_step(step)
        self.patches.begin_step(step)

    def forward(self, tokens: Tokens) -> Tokens:
        """Both kinds, in float32."""
        return Tokens(self.cls(tokens.cls), self.patches(tokens.patches), tokens.grid)

    @property
    def record(self) -> dict[str, Any]:
        """What it was, in plain values, for the artefact's provenance."""
        return {
            "rule": self.rule,
            "steps": self.patches.steps,
            "class_tokens": int(self.cls.count),
            "patch_tokens": int(self.patches.count),
        }
