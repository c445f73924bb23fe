"""What stage 1 minimises: the interface of GKD and of the methods that it is compared with."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from gkd_lightning.distill.alignment import AlignmentHead
from gkd_lightning.distill.passes import Passes
from gkd_lightning.distill.standardisation import TokenStandardisation
from gkd_lightning.encoders import Encoder
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Ranged

Variant = Literal["official", "paper"]
"""``official`` follows a method's released code, mistakes that change numbers included; ``paper`` what is written."""


class Masking(NamedTuple):
    """How many patch tokens of how many images an objective hides from the student."""

    ratio: float = 0.5
    """Share of hidden tokens in a masked image."""
    probability: float = 0.5
    """Share of masked images in a batch."""


class Objective(Ranged, nn.Module, ABC):
    """One loss, or several, of a stage without labels.

    To add a method, derive from this class: say in `masking` whether the student sees masked images, make the layers
    that need the encoders in `attach`, and return scalars from `forward`. The layers learn with the student and are
    thrown away with the teacher.
    """

    variant: Variant = "official"
    """Whether optimiser groups and schedule repeat the released code's mistakes, see `optim`."""
    masking: Masking | None = None
    """None: nothing is hidden."""
    steps: float = math.inf
    """How many the training has."""
    weights: dict[str, float]
    """Of the terms in what is minimised, 1 for a name that is not in it."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = {}
        self.heads = nn.ModuleDict()
        """See `alignment_heads`."""

    def attach(self, student: Encoder, teacher: Encoder) -> None:
        """Make what depends on the two encoders; called once."""

    @abstractmethod
    def forward(self, passes: Passes) -> dict[str, Tensor]:
        """Scalars by the names under which they are logged, not weighted yet.

        Args:
            passes: a batch, and what student and teacher make of it.
        """

    def per_image(self, passes: Passes) -> dict[str, Tensor]:
        """The terms of `forward`, (B,) image by image, whose means they are: what teacher dropping compares.

        Raises:
            UserError: this objective's terms are not means over images, or nobody has written them so.
        """
        raise UserError(f"{type(self).__name__} does not tell its terms image by image, which dropping compares")

    def begin_fit(self, steps: float) -> None:
        """Called before a training of so many optimiser steps, of which an interrupted run may have taken some."""
        self.steps = steps

    def begin_step(self, step: int) -> None:
        """Called before the first micro-batch of an optimiser step, counted from 0."""
        for head in self.heads.values():
            if isinstance(head, AlignmentHead) and head.moves:
                head.progress(min(1.0, step / self.steps))

    def alignment_heads(self) -> dict[str, AlignmentHead]:
        """Those of `heads` that lift tokens, by the name of their term: written beside the student, to look into it."""
        return {name: head for name, head in self.heads.items() if isinstance(head, AlignmentHead)}

    @property
    def rules(self) -> dict[str, TokenStandardisation]:
        """By which rule each teacher's tokens are standardised, by its name; only several teachers have any."""
        return {}

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Weighted sum of scalars, or of (B,) terms image by image."""
        return torch.stack([self.weights.get(name, 1.0) * term for name, term in terms.items()]).sum(0)

    def loss(self, terms: dict[str, Tensor], passes: Passes) -> Tensor:
        """What is minimised.

        Args:
            terms: what `forward` has returned.
            passes: what it was given.
        """
        return self.total(terms)
