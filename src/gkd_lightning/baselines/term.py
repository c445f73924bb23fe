"""What a single-stage method adds to the task's loss, and what it may look at."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gkd_lightning.encoders import Tokens
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Ranged


class View(NamedTuple):
    """What one network has made of a batch."""

    tokens: Tokens
    """After the final norm."""
    blocks: tuple[Tensor, ...] = ()
    """Raw outputs (B, D, h, w) of the blocks that the term asked for, in its order."""
    logits: Tensor | None = None
    """(B, K, h, w) logits of every pixel, see `pixel_logits`; None unless the term asked for them."""

    @property
    def map(self) -> Tensor:
        """The patch tokens as a map (B, D, h, w)."""
        batch, _, width = self.tokens.patches.shape
        return self.tokens.patches.transpose(1, 2).reshape(batch, width, *self.tokens.grid)

    def scores(self) -> Tensor:
        """The logits.

        Raises:
            UserError: there are none, for the teacher has no head.
        """
        if self.logits is None:
            raise UserError("teacher_segmenter: this method compares class scores, so the teacher needs a head")
        return self.logits


class DistillationTerm(Ranged, nn.Module, ABC):
    """One loss, or several, beside the task's in single-stage distillation.

    To add a method, derive from this class: name what you look at in `blocks`, `wants_tokens` and `wants_logits`, make
    the layers that need widths in `attach`, and return weighted scalars from `forward`. The layers learn with the
    student and are thrown away with the teacher.
    """

    blocks: tuple[int, ...] = ()
    """Indices of the encoder blocks whose raw outputs are wanted, of the student and of the teacher."""
    wants_tokens: bool = True
    """Whether the tokens after the final norm are looked at; otherwise that norm learns nothing and is frozen."""
    wants_logits: bool = False
    """Whether class scores of every pixel are wanted; the teacher then needs a trained head."""

    def attach(self, student_dim: int, teacher_dim: int, num_classes: int) -> None:
        """Make what depends on the widths of both encoders' tokens or on the number of classes; called once."""

    @abstractmethod
    def forward(self, student: View, teacher: View, labels: Tensor, keys: Tensor) -> dict[str, Tensor]:
        """Weighted terms by name; their sum joins the task's loss.

        Args:
            student: with gradients.
            teacher: without; on the student's token grid and at the size of its logits.
            labels: (B, H, W) uint8 train ids, 255 without truth.
            keys: (B,) int64 on the host: whatever is random about a sample is drawn from its key, see `keyed_noise`.
        """


def pixel_logits(scores: Tensor) -> Tensor:
    """Logits of every pixel from a head's scores: ``log(scores + 1e-6)``.

    Their softmax is the score, normalised; with a temperature it is a real tempering, which a softmax of the scores
    themselves is not (Mask2Former's lie in [0, 1] as a rule, so 19 classes would never be told apart).

    Args:
        scores: (B, K, h, w), see `SegmentationHead.scores`.
    """
    return torch.log(scores + 1e-6)
