"""Stage 1 as the benchmarks build it: random weights and images, the same in every process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from pathlib import Path
from typing import Any

import torch

from gkd_lightning.distill import DomainGeneralDistillation, Passes
from gkd_lightning.encoders import EncoderSpec, encoder_state
from gkd_lightning.memory import reset_peak_memory


def specifications(
    teacher: str = "vit_base_patch14_dinov2", student: str = "vit_small_patch16_224", size: int = 224, patch: int = 14,
    teacher_options: dict[str, Any] | None = None, student_options: dict[str, Any] | None = None,
) -> tuple[EncoderSpec, EncoderSpec]:  # fmt: skip
    """Teacher and student without weights, in one geometry and with the same input statistics, as officially.

    Args:
        teacher: timm model name.
        student: timm model name.
        size: side of the images in pixels.
        patch: side of a patch in pixels.
        teacher_options: of ``timm.create_model``.
        student_options: likewise.
    """
    return (
        EncoderSpec(teacher, None, size, patch, normalization="imagenet", options=dict(teacher_options or {})),
        EncoderSpec(student, None, size, patch, normalization="imagenet", options=dict(student_options or {})),
    )


def seeded(teacher: EncoderSpec, student: EncoderSpec, **options: Any) -> OfficialPasses:
    """The module with random weights that are the same in every process, none of them trivial."""
    torch.manual_seed(0)
    module = OfficialPasses(teacher, student, ema_decay=None, health_every_n_steps=0, **options)
    with torch.no_grad():
        for name, parameter in (*module.teacher.module.named_parameters(), *module.student.named_parameters()):
            if name.endswith("gamma"):
                parameter.uniform_(0.5, 1.0)  # LayerScale starts at 1e-5, which would hide the blocks
            elif name.endswith("mask_token"):
                parameter.normal_(std=0.02)
    return module


def images_and_keys(module: DomainGeneralDistillation, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 3, H, W) uint8 noise and (B,) keys of the samples, the same in every process."""
    height, width = module.student.image_size
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=generator)
    return images, torch.arange(batch)


def write_checkpoints(module: DomainGeneralDistillation, folder: Path) -> tuple[Path, Path]:
    """The teacher as DINOv2 publishes it and the student as the authors save it: two ``.pth`` files."""
    teacher, student = folder / "teacher.pth", folder / "student.pth"
    torch.save(encoder_state(module.teacher.module), teacher)
    state = {f"student.backbone.{key}": value for key, value in encoder_state(module.student).items()}
    torch.save({"model": state}, student)
    return teacher, student


class OfficialPasses(DomainGeneralDistillation):
    """Can be told to run both views in full, as the official code does."""

    two_full_passes = False

    def passes(self, images: torch.Tensor, keys: torch.Tensor, hidden: torch.Tensor | None = None) -> Passes:
        """See `Distillation.passes`."""
        passes = super().passes(images, keys, hidden)
        return _FullPasses(passes) if self.two_full_passes and self.objective.masking is not None else passes


class _FullPasses(Passes):
    """Every image is masked, most of them with nothing hidden."""

    def __init__(self, passes: Passes) -> None:
        hidden = passes.hidden
        rest = hidden.new_zeros(len(passes.images) - len(hidden), hidden.shape[1])
        super().__init__(
            passes.student_encoder, passes.teacher_encoder, passes.images, passes.keys, torch.cat([hidden, rest])
        )


def forget_building() -> None:
    """What it took to make weights, to write and to read them is no part of a step's memory."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what was freed
    reset_peak_memory()
