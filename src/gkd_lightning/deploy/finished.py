"""A finished segmenter, a checkpoint or an export of one, behind what judge and prediction ask of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from gkd_lightning.data import LabelSpace
from gkd_lightning.deploy.exported import EXPORT_RECORD, ExportedSegmenter
from gkd_lightning.deploy.runtimes import open_export
from gkd_lightning.errors import UserError
from gkd_lightning.segment import load_segmenter


class Predictor(Protocol):
    """What a `Segmenter` and an export have in common."""

    window: Any
    stride: Any

    def scores(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Class scores (B, K, H, W) float32 of (B, 3, H, W) uint8 images of any size, brought to `size` if given."""

    def predict(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """Class ids (B, *size) int64: scores are brought to `size` (height, width) before the arg max."""


class Finished(NamedTuple):
    """A segmenter and what its classes mean."""

    segmenter: Predictor
    label_space: LabelSpace
    record: dict[str, Any]
    """`segmenter.json`, or `export.json`."""


class ExportedModule(nn.Module):
    """An export, for code that hands tensors to a module; it computes on the CPU."""

    window: Any
    stride: Any

    def __init__(self, exported: ExportedSegmenter) -> None:
        super().__init__()
        self.exported = exported
        judged_with: Any = exported.record["judged_with"]
        self.window, self.stride = judged_with or (list(exported.window), list(exported.stride))

    def scores(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """See `Predictor.scores`."""
        return torch.from_numpy(self.exported.scores(_pixels(images), size)).to(images.device)

    def predict(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """See `Predictor.predict`."""
        return torch.from_numpy(self.exported.predict(_pixels(images), size)).long().to(images.device)


def gives_scores(segmenter: Predictor) -> bool:
    """Whether it says more than class ids; an export need not."""
    return not isinstance(segmenter, ExportedModule) or "scores" in segmenter.exported.names


def _pixels(images: Tensor) -> Any:
    return np.ascontiguousarray(images.permute(0, 2, 3, 1).cpu().numpy())


def load_finished(path: str | Path, device: str = "cpu") -> Finished:
    """What `gkd run` or `gkd export` left.

    Args:
        path: `segmenter.safetensors`, its folder, or the folder of an export.
        device: where a checkpoint computes: ``auto``, ``cpu``, ``cuda`` ...

    Raises:
        UserError: neither of them, a damaged file, or no such device.
    """
    if (Path(path) / EXPORT_RECORD).is_file():
        exported = open_export(path)
        return Finished(ExportedModule(exported), exported.label_space, exported.record)
    segmenter, space, record = load_segmenter(path)
    try:
        place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        segmenter.to(place)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device: {device}: {str(error).splitlines()[0]}") from error
    return Finished(segmenter, space, record)
