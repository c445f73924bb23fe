"""Stage 1: frozen teachers, a student, an objective, the official optimiser, an artefact at the end."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from gkd_lightning.data import TrainingModule
from gkd_lightning.distill.artefact import save_heads
from gkd_lightning.distill.balance import Balance, BalanceName, chosen_balance
from gkd_lightning.distill.ema import ExponentialMovingAverage
from gkd_lightning.distill.health import DistillationHealth
from gkd_lightning.distill.masking import BatchMasks, MasksBySide, masked_samples
from gkd_lightning.distill.objective import Objective
from gkd_lightning.distill.optim import cosine_factor, parameter_groups, scaled_learning_rate
from gkd_lightning.distill.passes import Passes
from gkd_lightning.distill.several_teachers import SeveralTeachers
from gkd_lightning.distill.teachers import Teachers, TeacherSpec
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
    unreached,
)
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Count, Momentum, Natural, Positive, Weight
from gkd_lightning.step_logging import StepLogging

_PARTS = ("teacher", "student", "teachers")
"""Arguments of `Distillation` that hold specifications."""


class Distillation(StepLogging):
    """What teachers know into a student, without labels: on proxy images (1a) or the source domain's (1b).

    What the objective does not reach in the student (TinyMIM: the tail of its last block) is frozen for this stage.

    Args:
        teacher: the frozen vision foundation model; not together with `teachers`.
        student: the encoder that learns; in stage 1b its `weights` are stage 1a's artefact.
        objective: what is minimised; has no layers yet. With several teachers it is theirs that have no other one, each
            with layers of its own.
        lr: learning rate for the reference batch size.
        reference_batch_size: global batch size that `lr` is meant for (linear rule; of several batch sizes their mean
            counts); null takes `lr` as it is.
        min_lr: where the cosine ends; scaled as `lr` for a batch so small that its rate would lie below.
        weight_decay: AdamW's decay.
        schedule: ``epoch`` changes the rate between epochs (official), ``step`` after every step.
        warmup_steps: linear ramp at the start, ``step`` schedule only.
        ema_decay: keep a moving average of the student (official: 0.99996, saved but never used).
        hand_on: which weights the next stage gets, ``student`` (official) or ``ema``.
        stage: name written into the artefact.
        health_every_n_steps: how often cosine, entropy and gradient norms are measured, in steps that are logged; 0
            never.
        compile: let `torch.compile` fuse the transformer blocks of teacher and student, at the first step; null does
            so on a GPU. Checkpoints and artefacts keep their keys.
        activation_checkpointing: the student's backward pass computes its blocks again instead of keeping what they
            made: same numbers, less memory, a third more work in the student.
        teachers: several frozen encoders by name, see `TeacherSpec`; one pass of the student serves all.
        balance: how their losses become one: ``fixed`` (their weights), ``magnitude``, ``dropping``, or a `Balance`.
        offload: ``cpu`` keeps several teachers' weights on the host but during their own pass.
    """

    def __init__(
        self,
        teacher: EncoderSpec | None,
        student: EncoderSpec,
        objective: Objective | None = None,
        lr: Positive = 5e-4,
        reference_batch_size: Count | None = 512,
        min_lr: Weight = 1e-5,
        weight_decay: Weight = 0.05,
        schedule: Literal["epoch", "step"] = "epoch",
        warmup_steps: Natural = 0,
        ema_decay: Momentum | None = None,
        hand_on: Literal["student", "ema"] = "student",
        stage: str = "task_agnostic",
        health_every_n_steps: Natural = 50,
        compile: bool | None = None,
        activation_checkpointing: bool = False,
        teachers: dict[str, TeacherSpec] | None = None,
        balance: BalanceName | Balance = "fixed",
        offload: Literal["cpu"] | None = None,
    ) -> None:
        super().__init__()
        # plain types only, of subclasses too
        self.save_hyperparameters(ignore=[*_PARTS, "objective", "alignment", "distance", "balance"])
        self.save_hyperparameters(_plain(teacher, student, teachers))
        if (teacher is None) == (teachers is None):
            raise UserError("teacher, teachers: give one of them")
        if teachers is None and (balance != "fixed" or offload is not None):
            raise UserError("balance, offload: are for several teachers, named in model.teachers")
        if hand_on == "ema" and ema_decay is None:
            raise UserError("hand_on=ema needs ema_decay (the official value is 0.99996)")
        if warmup_steps and schedule == "epoch":
            raise UserError(f"warmup_steps: {warmup_steps} needs schedule=step: an epoch's rate does not change in it")
        if min_lr > lr:
            raise UserError(f"min_lr: {min_lr} must be at most lr: {lr}")
        self.teacher: Any  # Frozen[Encoder], or Teachers
        if teachers is None:
            assert teacher is not None
            self.teacher = Frozen(build_encoder(teacher, "teacher"))
        else:
            self.teacher = Teachers(teachers)
        self.student = build_encoder(student, "student")
        self.ema = ExponentialMovingAverage(self.student, ema_decay) if ema_decay is not None else None
        if activation_checkpointing:
            checkpoint_activations(self.student)
        self.health = DistillationHealth(health_every_n_steps)
        if isinstance(self.teacher, Teachers):
            assert teachers is not None
            self.objective: Objective = SeveralTeachers(
                teachers, self.teacher, self.student, objective, chosen_balance(balance)
            )
        elif objective is None:
            raise UserError("objective: is required")
        else:
            self.objective = objective
            self.objective.attach(self.student, self.teacher.module)

    def forward(self, images: torch.Tensor) -> Tokens:
        """The student's tokens of (B, 3, H, W) images."""
        return self.student.tokens(images)

    def setup(self, stage: str) -> None:
        """Freeze what no term reaches; have the masks drawn where the images are loaded. A data module that is not ours
        leaves them to the step."""
        if stage != "fit":
            return
        freeze_unreached(self)
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, TrainingModule):
            for side in data.sides:
                self.student.require((side, side))
                require = self.teacher.require if isinstance(self.teacher, Teachers) else self.teacher.module.require
                require((side, side))
            masks = {side: self.masks((side, side)) for side in data.sides}
            wanted = {side: each for side, each in masks.items() if each is not None}
            for side, images in data.pieces:
                if side in wanted:
                    wanted[side].require(images)
            data.in_workers = MasksBySide(wanted) if wanted else None

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        """One step."""
        if self.begins_step:
            self.objective.begin_step(self.global_step)
        passes = self.passes(batch["image"], batch["key"], batch.get("mask"))
        terms = self.objective(passes)
        loss = self.objective.loss(terms, passes)
        terms = {name: term.mean() for name, term in terms.items()}
        health = self.health.measure(terms, passes) if self.measures_health else {}
        self.log_step({"train/loss": loss, **{f"train/{name}": term for name, term in terms.items()}, **health})
        return loss

    @property
    def measures_health(self) -> bool:
        """Whether this micro-batch measures: the first of a logged step that is due."""
        wanted = self.health.every_n_steps > 0 and self.logs_this_step and self.begins_step
        return wanted and self.health.due(self.global_step + 1, self.trainer.log_every_n_steps)

    def dry_step(self, images: torch.Tensor) -> torch.Tensor:
        """The loss of a training step on (B, 3, H, W) images without content: to count what a step takes."""
        hidden = None
        if (masks := self.masks((images.shape[-2], images.shape[-1]))) is not None:
            rows = max(1, masked_samples(len(images), masks.probability))
            hidden = torch.zeros(rows, masks.tokens, dtype=torch.bool, device=images.device)
        keys = torch.zeros(len(images), dtype=torch.int64, device="cpu")
        passes = self.passes(images, keys, hidden)
        return self.objective.loss(self.objective(passes), passes)

    def passes(self, images: torch.Tensor, keys: torch.Tensor, hidden: torch.Tensor | None = None) -> Passes:
        """What the objective looks at, see `Passes`; masks that are not given are drawn if the objective wants any."""
        masks = self.masks((images.shape[-2], images.shape[-1]))
        if masks is not None and hidden is None:
            hidden = masks({"key": keys})["mask"].to(images.device, non_blocking=True)
        return Passes(self.student, self.teacher, images, keys, hidden)

    def masks(self, size: tuple[int, int]) -> BatchMasks | None:
        """How the masks of images of `size` (height, width) are drawn; None for an objective that hides nothing."""
        if self.objective.masking is None:
            return None
        rows, columns = self.student.grid(size)
        return BatchMasks(rows * columns, *self.objective.masking)

    def configure_optimizers(self) -> dict[str, Any]:
        """AdamW with the official groups, linear learning-rate rule and cosine schedule."""
        hparams, official = self.hparams, self.objective.variant == "official"
        data = getattr(self.trainer, "datamodule", None)
        batch_size = data.images_per_step if isinstance(data, TrainingModule) else getattr(data, "batch_size", None)
        if batch_size is None and hparams.reference_batch_size is not None:
            raise UserError("reference_batch_size needs a data module that states its global batch_size")
        base = scaled_learning_rate(hparams.lr, batch_size or 1, hparams.reference_batch_size)
        # a cosine that ends above its start would rise: for so small a batch the linear rule holds for its end as well
        minimum = hparams.min_lr if hparams.min_lr <= base else hparams.min_lr * base / hparams.lr
        groups = parameter_groups(self.named_parameters(), hparams.weight_decay, decay_tokens=official)
        optimizer = adamw(groups, base, self.trainer)
        if hparams.schedule == "epoch":
            total = self.trainer.max_epochs or 1
            if total < 0:
                raise UserError("schedule=epoch needs trainer.max_epochs; with max_steps use schedule=step")
            factor = cosine_factor(total, base, minimum, late=int(official))
        else:
            total = int(self.trainer.estimated_stepping_batches)
            factor = cosine_factor(total, base, minimum, warmup=hparams.warmup_steps)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": hparams.schedule}}

    def on_fit_start(self) -> None:
        """Tell the objective how long it will be; bring the encoders into the shape in which they run fastest."""
        self.objective.begin_fit(self.trainer.estimated_stepping_batches)
        self.prepare(bf16=str(self.trainer.precision).startswith("bf16"))

    def prepare(self, bf16: bool) -> None:
        """See `prepare_encoders`."""
        compile = self.hparams.compile
        prepare_encoders(*self.frozen_encoders, learning=self.student, device=self.device, bf16=bf16, compile=compile)
        if self.hparams.offload is not None:
            self.teacher.leave()

    @property
    def frozen_encoders(self) -> list[Encoder]:
        """The teacher's, or each teacher's."""
        return self.teacher.encoders if isinstance(self.teacher, Teachers) else [self.teacher.module]

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the average."""
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None:
            self.ema.update(self.student)

    def export(self, directory: str | Path, provenance: dict[str, Any]) -> Path:
        """Write the student's artefact (`student.safetensors`, `student.json`, see `export_encoder`), and beside it the
        heads it learned with, which no stage reads."""
        encoder: Encoder = self.student
        if self.hparams.hand_on == "ema":
            assert self.ema is not None
            encoder = self.ema.module  # type: ignore[assignment]
        provenance = {**provenance, "handed_on": self.hparams.hand_on}
        if self.objective.rules:
            provenance["standardise"] = {name: rule.record for name, rule in self.objective.rules.items()}
        path = export_encoder(encoder, directory, stage=self.hparams.stage, provenance=provenance)
        heads, rules = self.objective.alignment_heads(), self.objective.rules
        if heads or rules:
            save_heads(heads, path, rules)
        return path


def _plain(
    teacher: EncoderSpec | None, student: EncoderSpec, teachers: dict[str, TeacherSpec] | None
) -> dict[str, Any]:
    found: dict[str, Any] = {"teacher": None if teacher is None else asdict(teacher), "student": asdict(student)}
    return found if teachers is None else {**found, "teachers": {name: spec.plain for name, spec in teachers.items()}}


class _DryStep(nn.Module):
    """A step with its networks, but without what a LightningModule is besides."""

    def __init__(self, module: Distillation) -> None:
        super().__init__()
        self.student, self.teacher, self.objective = module.student, module.teacher, module.objective

    passes, masks, forward = Distillation.passes, Distillation.masks, Distillation.dry_step


def freeze_unreached(module: Distillation) -> None:
    """Freeze the student's parameters that no term reaches: left to learn, they would stop distributed training."""
    step = _DryStep(module)
    learning = [name for name, value in module.student.named_parameters() if value.requires_grad]
    images = torch.zeros(4, 3, *module.student.image_size, dtype=torch.uint8, device="meta")
    for name in unreached(step, [f"student.{name}" for name in learning], (images,), lambda loss: loss):
        step.get_parameter(name).requires_grad_(False)
