"""A step of stage 1 as work to be timed, with its levers pulled or not."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from gkd_lightning.bench.contender import Workload
from gkd_lightning.distill import DomainGeneralDistillation
from gkd_lightning.distill.ema import ExponentialMovingAverage
from gkd_lightning.distill.optim import adamw, parameter_groups
from gkd_lightning.encoders import EncoderSpec, Tokens, encoder_state
from gkd_lightning.memory import reset_peak_memory

EMA_DECAY = 0.99996
LEARNING_RATE = 1e-4
WEIGHT_DECAY = 0.05
LEVERS = ("masked half", "attention", "optimiser", "average", "bf16 teacher", "uint8")
"""What a run does by itself. Beside them there are ``compile``, ``checkpointing`` and, on a GPU, ``tf32``."""


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


def step(
    device: str,
    batch: int = 8,
    precision: str = "fp32",
    levers: Iterable[str] = LEVERS,
    through: str = "",
    method: dict[str, Any] | None = None,
    **geometry: Any,
) -> Workload:
    """Make the work: forward, backward, AdamW and moving average of one batch.

    Args:
        device: ``cpu`` or ``cuda``.
        batch: images a step.
        precision: ``fp32`` or ``bf16`` (autocast).
        levers: those of `LEVERS` and of ``compile``, ``checkpointing``, ``tf32`` that are pulled.
        through: ``files`` takes the weights by way of published files and our importer; ``trainer`` lets Lightning
            drive the steps.
        method: what is minimised, as arguments of `DomainGeneralDistillation`; None: GKD.
        geometry: see `specifications`.
    """
    pulled = set(levers)
    switches: dict[str, Any] = {"compile": "compile" in pulled, "activation_checkpointing": "checkpointing" in pulled}
    switches.update(method or {})
    specs = specifications(**geometry)
    module = _through_files(specs, switches) if through == "files" else seeded(*specs, **switches)
    average = ExponentialMovingAverage if "average" in pulled else LoopedAverage
    module.ema = average(module.student, EMA_DECAY)
    module.two_full_passes = "masked half" not in pulled
    if "attention" not in pulled:
        _leave_attention_plain(module)
    if "tf32" in pulled:
        torch.set_float32_matmul_precision("high")
    if through == "trainer":
        from gkd_lightning.bench.stage1_trainer import TrainerSteps

        images, keys = images_and_keys(module, batch)
        work = TrainerSteps(module, {"image": _pinned(images, device), "key": keys}, precision, device)
        forget_building()
        return work
    return Stage1Step(module, batch, precision, device, pulled)


class Stage1Step:
    """One batch again and again."""

    def __init__(
        self, module: DomainGeneralDistillation, batch: int, precision: str, device: str, pulled: set[str]
    ) -> None:
        self.module, self.device, self.bf16 = module.to(device).train(), device, precision == "bf16"
        module.prepare(self.bf16 and "bf16 teacher" in pulled)
        self.images, self.keys = images_and_keys(module, batch)
        if "uint8" not in pulled:
            self.images = self.images.float().div_(255.0)
        self.images = _pinned(self.images, device)
        groups = parameter_groups(module.named_parameters(), WEIGHT_DECAY)
        if "optimiser" in pulled:
            self.optimizer = adamw(groups, LEARNING_RATE)
        else:
            self.optimizer = torch.optim.AdamW(groups, LEARNING_RATE, foreach=False)
        forget_building()

    def forward(self) -> torch.Tensor:
        """The loss, with its graph."""
        module = self.module
        images = self.images.to(self.device, non_blocking=True)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            teacher = module.teacher_tokens(images)
            student, masked, mask = module.student_tokens(images, module.draw_mask(images, self.keys))
            terms, _ = module.objective(student, teacher, masked, mask)
            loss: torch.Tensor = module.objective.total(terms)
        return loss

    def step(self) -> int:
        """See `Workload.step`."""
        return self.update(self.forward())

    def update(self, loss: torch.Tensor) -> int:
        """What follows the forward pass; returns the number of images."""
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        assert self.module.ema is not None
        self.module.ema.update(self.module.student)
        return len(self.images)

    def loss(self) -> float:
        """Of the weights as they are."""
        with torch.no_grad():
            return self.forward().item()


def forget_building() -> None:
    """What it took to make weights, to write and to read them is no part of a step's memory."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what was freed
    reset_peak_memory()


class LoopedAverage(ExponentialMovingAverage):
    """Tensor by tensor."""

    @torch.no_grad()
    def update(self, module: torch.nn.Module) -> None:
        """See `ExponentialMovingAverage.update`."""
        for average, current in zip(self.module.state_dict().values(), module.state_dict().values(), strict=True):
            average.mul_(self.decay).add_(current, alpha=1.0 - self.decay)


class OfficialPasses(DomainGeneralDistillation):
    """Can be told to run both views in full, as the official code does."""

    two_full_passes = False

    def student_tokens(
        self, images: torch.Tensor, mask: torch.Tensor | None
    ) -> tuple[Tokens, torch.Tensor | None, torch.Tensor | None]:
        """See `DomainGeneralDistillation.student_tokens`."""
        if mask is None or not self.two_full_passes:
            return super().student_tokens(images, mask)
        full = torch.cat([mask, mask.new_zeros(len(images) - len(mask), mask.shape[1])])
        return self.student.tokens(images), self.student.tokens(images, full).patches, full


def _pinned(images: torch.Tensor, device: str) -> torch.Tensor:
    return images.pin_memory() if device == "cuda" else images


def _through_files(specs: tuple[EncoderSpec, EncoderSpec], switches: dict[str, Any]) -> OfficialPasses:
    made = seeded(*specs, **switches)
    with TemporaryDirectory() as folder:
        files = write_checkpoints(made, Path(folder))
        teacher, student = (replace(spec, weights=str(file)) for spec, file in zip(specs, files, strict=True))
        module = OfficialPasses(teacher, student, health_every_n_steps=0, **switches)
    module.objective.load_state_dict(made.objective.state_dict())
    return module


def _leave_attention_plain(module: DomainGeneralDistillation) -> None:
    for part in module.modules():
        if hasattr(part, "fused_attn"):
            part.register_forward_pre_hook(_plain)  # after the encoder's own choice


def _plain(layer: torch.nn.Module, inputs: Any) -> None:
    setattr(layer, "fused_attn", False)  # noqa: B010 - an attribute of timm's, unknown to the type checker
