"""A step of stage 1 as work to be timed, with its levers pulled or not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from gkd_bench.contender import Workload
from gkd_bench.stage1_module import (
    OfficialPasses,
    forget_building,
    images_and_keys,
    seeded,
    specifications,
    write_checkpoints,
)
from gkd_bench.stage1_trainer import TrainerSteps
from gkd_lightning.distill import DomainGeneralDistillation
from gkd_lightning.distill.ema import ExponentialMovingAverage
from gkd_lightning.distill.optim import parameter_groups
from gkd_lightning.encoders import EncoderSpec, adamw

EMA_DECAY = 0.99996
LEARNING_RATE = 1e-4
WEIGHT_DECAY = 0.05
LEVERS = ("masked half", "attention", "optimiser", "average", "bf16 teacher", "uint8")
"""What a run does by itself. Beside them there are ``compile``, ``checkpointing`` and, on a GPU, ``tf32``."""


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
            loss: torch.Tensor = module.objective.total(module.objective(module.passes(images, self.keys)))
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


class LoopedAverage(ExponentialMovingAverage):
    """Tensor by tensor."""

    @torch.no_grad()
    def update(self, module: torch.nn.Module) -> None:
        """See `ExponentialMovingAverage.update`."""
        for average, current in zip(self.module.state_dict().values(), module.state_dict().values(), strict=True):
            average.mul_(self.decay).add_(current, alpha=1.0 - self.decay)


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
