"""What every stage 1 has: a frozen teacher, a student that learns, the official optimiser, an artefact at the end."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F

from gkd_lightning.distill.ema import ExponentialMovingAverage
from gkd_lightning.distill.optim import cosine_factor, parameter_groups, scaled_learning_rate
from gkd_lightning.encoders import (
    Encoder,
    EncoderSpec,
    Frozen,
    Tokens,
    adamw,
    build_encoder,
    checkpoint_activations,
    export_encoder,
    prepare_encoders,
)
from gkd_lightning.errors import UserError
from gkd_lightning.step_logging import StepLogging


class Distillation(StepLogging):
    """A teacher's knowledge into a student, without labels. Subclasses say what is minimised.

    Args:
        teacher: the frozen vision foundation model.
        student: the encoder that learns; in stage 1b its `weights` are stage 1a's artefact.
        lr: learning rate for the reference batch size.
        reference_batch_size: global batch size that `lr` is meant for (linear rule); null takes `lr` as it is.
        min_lr: where the cosine ends.
        weight_decay: AdamW's decay.
        schedule: ``epoch`` changes the rate between epochs (official), ``step`` after every step.
        warmup_steps: linear ramp at the start, ``step`` schedule only.
        ema_decay: keep a moving average of the student (official: 0.99996, saved but never used).
        hand_on: which weights the next stage gets, ``student`` (official) or ``ema``.
        stage: name written into the artefact.
        compile: let `torch.compile` fuse the transformer blocks of teacher and student, at the first step; null does
            so on a GPU. Checkpoints and artefacts keep their keys.
        activation_checkpointing: the student's backward pass computes its blocks again instead of keeping what they
            made: same numbers, less memory, a third more work in the student.
    """

    official_groups = True
    """Whether position embedding, class token and mask token are decayed, and the epoch schedule is called one epoch
    late, as in the official code."""

    def __init__(
        self,
        teacher: EncoderSpec,
        student: EncoderSpec,
        lr: float = 5e-4,
        reference_batch_size: int | None = 512,
        min_lr: float = 1e-5,
        weight_decay: float = 0.05,
        schedule: Literal["epoch", "step"] = "epoch",
        warmup_steps: int = 0,
        ema_decay: float | None = None,
        hand_on: Literal["student", "ema"] = "student",
        stage: str = "task_agnostic",
        compile: bool | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["teacher", "student", "objective"])  # plain types only, of subclasses too
        self.save_hyperparameters({"teacher": asdict(teacher), "student": asdict(student)})
        if hand_on == "ema" and ema_decay is None:
            raise UserError("hand_on=ema needs ema_decay (the official value is 0.99996)")
        if ema_decay is not None and not 0 <= ema_decay < 1:
            raise UserError(f"ema_decay: {ema_decay} must be at least 0 and below 1 (the official value is 0.99996)")
        if lr <= 0:
            raise UserError(f"lr: {lr} must be above 0")
        self.teacher = Frozen(build_encoder(teacher))
        self.student = build_encoder(student)
        self.ema = ExponentialMovingAverage(self.student, ema_decay) if ema_decay is not None else None
        if activation_checkpointing:
            checkpoint_activations(self.student)

    def forward(self, images: torch.Tensor) -> Tokens:
        """The student's tokens of (B, 3, H, W) images."""
        return self.student.tokens(images)

    @abstractmethod
    def dry_step(self, images: torch.Tensor) -> torch.Tensor:
        """The loss of a training step on (B, 3, H, W) images without content: to count what a step takes."""

    def teacher_tokens(self, images: torch.Tensor) -> Tokens:
        """The teacher's tokens, its patch map resized bilinearly to the student's grid where they differ."""
        tokens: Tokens = self.teacher(images)[0]
        grid = self.student.grid((images.shape[-2], images.shape[-1]))
        return resize_tokens(tokens, grid)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with the official groups, linear learning-rate rule and cosine schedule."""
        hparams = self.hparams
        batch_size = getattr(getattr(self.trainer, "datamodule", None), "batch_size", None)
        if batch_size is None and hparams.reference_batch_size is not None:
            raise UserError("reference_batch_size needs a data module that states its global batch_size")
        base = scaled_learning_rate(hparams.lr, batch_size or 1, hparams.reference_batch_size)
        groups = parameter_groups(self.named_parameters(), hparams.weight_decay, decay_tokens=self.official_groups)
        optimizer = adamw(groups, base, self.trainer)
        if hparams.schedule == "epoch":
            total = self.trainer.max_epochs or 1
            if total < 0:
                raise UserError("schedule=epoch needs trainer.max_epochs; with max_steps use schedule=step")
            factor = cosine_factor(total, base, hparams.min_lr, late=int(self.official_groups))
        else:
            total = int(self.trainer.estimated_stepping_batches)
            factor = cosine_factor(total, base, hparams.min_lr, warmup=hparams.warmup_steps)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": hparams.schedule},
        }

    def on_fit_start(self) -> None:
        """Bring the encoders into the shape in which they run fastest."""
        self.prepare(bf16=str(self.trainer.precision).startswith("bf16"))

    def prepare(self, bf16: bool) -> None:
        """See `prepare_encoders`.

        Args:
            bf16: whether the run is in bf16.
        """
        compile = self.hparams.compile
        prepare_encoders(self.teacher.module, self.student, device=self.device, bf16=bf16, compile=compile)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the average."""
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None:
            self.ema.update(self.student)

    def export(self, directory: str | Path, provenance: dict[str, Any]) -> Path:
        """Write the student's artefact (`student.safetensors`, `student.json`); see `export_encoder`."""
        encoder: Encoder = self.student
        if self.hparams.hand_on == "ema":
            assert self.ema is not None
            encoder = self.ema.module  # type: ignore[assignment]
        provenance = {**provenance, "handed_on": self.hparams.hand_on}
        return export_encoder(encoder, directory, stage=self.hparams.stage, provenance=provenance)


def resize_tokens(tokens: Tokens, grid: tuple[int, int]) -> Tokens:
    """Bring a patch map to another grid bilinearly; the class token stays."""
    if tokens.grid == grid:
        return tokens
    maps = tokens.patches.transpose(1, 2).reshape(len(tokens.patches), -1, *tokens.grid)
    maps = F.interpolate(maps.float(), size=grid, mode="bilinear", align_corners=False)
    return Tokens(tokens.cls, maps.flatten(2).transpose(1, 2).to(tokens.patches.dtype), grid)
