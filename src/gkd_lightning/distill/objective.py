"""What stage 1 minimises: the interface of GKD and of the methods that it is compared with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from gkd_lightning.distill.passes import Passes
from gkd_lightning.encoders import Encoder
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
    weights: dict[str, float]
    """Of the terms in what is minimised, 1 for a name that is not in it."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = {}
        self.heads = nn.ModuleDict()
        """Every `AlignmentHead` among them is written beside the student, for looking into it."""

    def attach(self, student: Encoder, teacher: Encoder) -> None:
        """Make what depends on the two encoders; called once."""

    @abstractmethod
    def forward(self, passes: Passes) -> dict[str, Tensor]:
        """Scalars by the names under which they are logged, not weighted yet.

        Args:
            passes: a batch, and what student and teacher make of it.
        """

    def total(self, terms: dict[str, Tensor]) -> Tensor:
        """Weighted sum: what is minimised."""
        return torch.stack([self.weights.get(name, 1.0) * term for name, term in terms.items()]).sum()
