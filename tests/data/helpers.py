"""Small data sets in memory and on disk."""

from __future__ import annotations

from pathlib import Path

import lightning
import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor

from gkd_lightning.data import Image, Label, LabelSpace

TWO = LabelSpace(names=("road", "car"), palette=((128, 64, 128), (0, 0, 142)))


class Scribbles:
    """`size` random images with a label of two classes and a void corner."""

    label_space = TWO

    def __init__(self, size: int, height: int = 20, width: int = 30) -> None:
        self.size, self.height, self.width = size, height, width

    def __len__(self) -> int:
        return self.size

    def image(self, index: int) -> Image:
        random = np.random.RandomState(index)
        return random.randint(0, 256, (self.height, self.width, 3)).astype(np.uint8)

    def label(self, index: int) -> Label:
        label = np.random.RandomState(1000 + index).randint(0, 2, (self.height, self.width)).astype(np.uint8)
        label[:3, :3] = 255
        return label

    def name(self, index: int) -> str:
        return f"scribble{index}"


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Write an array as an image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels).save(path, **options)
    return path


def write_folder(root: Path, names: list[str], height: int = 16, width: int = 24) -> tuple[Path, Path]:
    """`root/images/NAME.png` and `root/labels/NAME.png` with train ids 0, 1 and 255."""
    data = Scribbles(len(names), height, width)
    for index, name in enumerate(names):
        save(root / "images" / f"{name}.png", data.image(index))
        save(root / "labels" / f"{name}.png", data.label(index))
    return root / "images", root / "labels"


class Recorder(lightning.LightningModule):
    """Trains one weight and writes down which samples each step saw."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[int]] = []
        self.names: list[tuple[str, str]] = []
        self.epochs: list[int] = []

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.seen.append([*batch["key"].tolist(), int(batch["image"].sum())])
        self.epochs.append(self.current_epoch)
        return self.weight.sum() + self.weight.sum() * torch.rand(())

    def validation_step(self, batch: dict[str, object], batch_idx: int, dataloader_idx: int = 0) -> None:
        self.names += [(str(batch["domain"]), str(name)) for name in batch["name"]]  # type: ignore[attr-defined]

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(**options: object) -> lightning.Trainer:
    """A silent CPU trainer."""
    defaults: dict[str, object] = {
        "accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False,
        "enable_progress_bar": False, "enable_model_summary": False, "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
    }  # fmt: skip
    return lightning.Trainer(**(defaults | options))
