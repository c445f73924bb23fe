"""Stage 2: a whole training step, against transformers' Mask2Former with its own loss around the same encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gkd_bench.contender import Comparison, Contender, Workload
from gkd_bench.stock_head import stock_labels, stock_model
from gkd_bench.undone import UNDONE
from gkd_lightning.encoders import EncoderSpec
from gkd_lightning.segment import Mask2FormerConfig, TaskLearning
from gkd_lightning.segment.optim import parameter_groups

CLASSES = 19
_HERE = "gkd_bench.task:{}"


def comparisons(device: str, peers: Sequence[str] = ()) -> list[Comparison]:
    """`stage2`, the whole step, and `stage2_levers`, our step with one lever undone at a time.

    On a GPU both are of 4 images of 512 px; on a CPU of one image (one core needs six seconds for it), and the levers
    of 256 px: all contenders stay in memory, three gigabytes each at 512 px.
    """
    gpu = device == "cuda"
    batch, small = (4, 512) if gpu else (1, 256)

    def row(name: str, function: str, precision: str, size: int = 512, **options: object) -> Contender:
        given = {"precision": precision, "batch": batch, "size": size, **options}
        return Contender(f"{name}, {precision}", _HERE.format(function), given, None if gpu else 1)

    stock_name, images = "transformers' Mask2Former", f"{batch} image{'s' if batch > 1 else ''}"
    whole = [
        row(name, function, precision)
        for precision in ("fp32", "bf16")
        for name, function in ((stock_name, "stock"), ("ours", "ours"))
    ]
    levers = [row(stock_name, "stock", "bf16", small), row("ours", "ours", "bf16", small)]
    levers += [row(f"ours with {lever}", "ours", "bf16", small, undone=lever) for lever in UNDONE]
    return [
        Comparison("stage2", f"Stage 2, one step of {images} of 512 px (ViT-S, official head)", tuple(whole)),
        Comparison("stage2_levers", f"Stage 2, one lever undone at a time, {images} of {small} px", tuple(levers)),
    ]


def batch_of(count: int, size: int, device: str) -> dict[str, Tensor]:
    """Noise images and labels in blocks of 32 pixels, one in twenty ignored; the same in every process."""
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)
    blocks = torch.randint(0, CLASSES + 1, (count, size // 32, size // 32), generator=generator)
    blocks[blocks == CLASSES] = 255
    label = blocks.repeat_interleave(32, 1).repeat_interleave(32, 2).to(torch.uint8)
    return {"image": image.to(device), "label": label.to(device), "key": torch.arange(count)}


class Step:
    """Forward, loss, backward, AdamW."""

    def __init__(self, module: TaskLearning, trained: nn.Module, batch: dict[str, Tensor], precision: str) -> None:
        self.module, self.batch = module, batch
        self.device = batch["image"].device.type
        self.bf16 = precision == "bf16"
        groups = parameter_groups(trained, module.encoder, lr=1e-4, weight_decay=0.05, encoder_lr_scale=1.0)
        self.optimizer = torch.optim.AdamW(groups, fused=True)

    def total(self) -> Tensor:
        """The loss of one pass."""
        return self.module.step_losses(self.batch).task.total

    def step(self) -> int:
        """A training step; returns the batch size."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            loss = self.total()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return len(self.batch["image"])


class StockStep(Step):
    """The same with transformers' model; its masks and classes are made beforehand, outside the step."""

    def __init__(self, module: TaskLearning, batch: dict[str, Tensor], precision: str) -> None:
        self.model = stock_model(module.segmenter).to(batch["image"].device)
        self.labels = stock_labels(batch["label"], CLASSES)
        super().__init__(module, self.model, batch, precision)

    def total(self) -> Tensor:
        """See `Step.total`."""
        masks, classes = self.labels
        loss: Tensor = self.model(self.batch["image"], mask_labels=masks, class_labels=classes).loss
        return loss


def vit_small(size: int) -> EncoderSpec:
    """The encoder of the comparisons, for images of `size` pixels a side."""
    return EncoderSpec("vit_small_patch14_dinov2", image_size=size, patch_size=16)


def task_module(spec: EncoderSpec, head: Mask2FormerConfig | None = None) -> TaskLearning:
    """The real module, with the same random weights in every process."""
    torch.manual_seed(0)
    module = TaskLearning(spec, CLASSES, head or Mask2FormerConfig())
    module.train()
    return module


def ours(
    device: str, precision: str, batch: int, size: int, undone: str = "", through: str = "",
    head: dict[str, Any] | None = None,
) -> Workload:  # fmt: skip
    """The step as `TaskLearning` does it, all but one lever if `undone` names one.

    `through` ``trainer`` lets Lightning prepare the module and drive the steps, as in a run. `head` changes the
    official one.
    """
    module = task_module(vit_small(size), Mask2FormerConfig(**(head or {})))
    if undone:
        UNDONE[undone](module)
    if through == "trainer":
        from gkd_bench.stage1_trainer import TrainerSteps

        return TrainerSteps(module, batch_of(batch, size, device), precision, device)
    module.train().to(device)
    return Step(module, module, batch_of(batch, size, device), precision)


def stock(device: str, precision: str, batch: int, size: int, head: dict[str, Any] | None = None) -> Step:
    """transformers' Mask2FormerForUniversalSegmentation; `head` changes the official one."""
    module = task_module(vit_small(size), Mask2FormerConfig(**(head or {})))
    return StockStep(module.to(device), batch_of(batch, size, device), precision)
