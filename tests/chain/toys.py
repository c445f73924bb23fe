"""The smallest model and data that go through a stage."""

from __future__ import annotations

import os
import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from safetensors.torch import load_file, save_file

from gkd_lightning.data.module_base import TrainingModule
from gkd_lightning.data.protocol import Protocol
from gkd_lightning.files import atomic_write


@dataclass
class ToySpec:
    name: str
    weights: str | None = None
    resize: Literal["a", "b"] = "a"
    image_size: int | list[int] | None = None
    options: dict[str, Any] = field(default_factory=dict)


class ToyStage(L.LightningModule):
    """A linear map that learns from noise drawn in the main process, so that every generator counts."""

    def __init__(self, student: ToySpec, alpha: float = 1.0, fail: bool = False, ctrl_c: int = -1) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["student"])
        self.save_hyperparameters({"student": asdict(student)})
        self.map = torch.nn.Linear(4, 4)
        if student.weights:
            self.map.load_state_dict(load_file(student.weights))

    def training_step(self, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if self.hparams.fail:
            raise KeyboardInterrupt
        if self.hparams.ctrl_c == self.global_step:
            os.kill(os.getpid(), signal.SIGINT)
        x = batch["image"].float().mean((1, 2, 3))[:, None] / 255 + torch.randn(len(batch["image"]), 4)
        loss = self.hparams.alpha * (self.map(x) - batch["key"][:, None] % 7).square().mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-2)

    def export(self, directory: Path, provenance: dict[str, Any]) -> Path:
        path = Path(directory) / "student.safetensors"
        with atomic_write(path) as temporary:
            save_file({key: value.contiguous() for key, value in self.map.state_dict().items()}, temporary)
        return path


class ToyData(TrainingModule):
    """Twenty grey images."""

    domain_names: list[str] = []  # noqa: RUF012

    def __init__(self, batch_size: int = 4, num_workers: int = 0, seed: int = 0) -> None:
        super().__init__(batch_size, num_workers, seed, 1, Protocol())

    def _training_images(self) -> int:
        return 20

    def _training_view(self) -> Any:
        return Greys()

    def manifest(self) -> dict[str, Any]:
        return {"images": 20, "sha256": "0" * 64}


class Greys(torch.utils.data.Dataset[dict[str, Any]]):
    def __getitem__(self, index: tuple[int, int]) -> dict[str, Any]:
        return {"image": torch.full((3, 2, 2), index[0] * 10, dtype=torch.uint8), "key": index[1]}


CONFIG = """
model:
  class_path: tests.chain.toys.ToyStage
  init_args: {student: {name: toy}}
data:
  class_path: tests.chain.toys.ToyData
trainer: {max_steps: 13, max_epochs: -1, accelerator: cpu, devices: 1, log_every_n_steps: 1, enable_progress_bar: false}
resume_every: 4
"""
