"""What a pre-distillation minimises: it looks at teacher and student itself."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from gkd_lightning.distill import batch_masks, masked_samples, resize_tokens
from gkd_lightning.encoders import Encoder, Frozen, Tokens, unreached
from gkd_lightning.errors import UserError


class Objective(nn.Module, ABC):
    """One loss, or several, of a stage without labels.

    To add a method, derive from this class: make the layers that need widths in `attach`, run both networks and return
    weighted scalars from `forward`. The layers learn with the student and are thrown away with the teacher.
    """

    def attach(self, student: Encoder, teacher: Encoder) -> None:
        """Make what depends on the two encoders; called once."""

    @abstractmethod
    def forward(self, student: Encoder, teacher: Frozen[Encoder], images: Tensor, keys: Tensor) -> dict[str, Tensor]:
        """Weighted terms by name; their sum is minimised.

        Args:
            student: runs with gradients.
            teacher: runs without, as ``teacher(images, blocks)``.
            images: (B, 3, H, W) uint8.
            keys: (B,) int64 on the host: whatever is random about a sample is drawn from its key.
        """


def teacher_tokens(student: Encoder, teacher: Frozen[Encoder], images: Tensor) -> Tokens:
    """The teacher's tokens on the student's grid."""
    tokens: Tokens = teacher(images)[0]
    return resize_tokens(tokens, student.grid((images.shape[-2], images.shape[-1])))


def first_masks(images: Tensor, keys: Tensor, tokens: int, ratio: float, share: float) -> Tensor:
    """(M, N) bool masks, each drawn from its sample's key, of the first M = int(B * share) images.

    Raises:
        UserError: M is 0.
    """
    chosen = masked_samples(len(keys), share)
    if chosen == 0:
        raise UserError(f"a batch of {len(keys)} per device leaves none to be masked; raise data.batch_size")
    return batch_masks(keys[:chosen], tokens, ratio).to(images.device, non_blocking=True)


def freeze_without_gradient(student: nn.Module, step: nn.Module, size: tuple[int, int], batch: int = 4) -> list[str]:
    """Freeze the student's parameters that no loss reaches: left to learn, they would stop distributed training.

    Args:
        student: part of `step`.
        step: gives the loss of (B, 3, H, W) images.
        size: (height, width) of the images.
        batch: B.

    Returns:
        Their names in `step`.
    """
    ours = {id(value) for value in student.parameters() if value.requires_grad}
    names = [name for name, value in step.named_parameters() if id(value) in ours]
    images = torch.zeros(batch, 3, *size, dtype=torch.uint8, device="meta")
    found = unreached(step, names, (images,), lambda loss: loss)
    for name in found:
        step.get_parameter(name).requires_grad_(False)
    return found
