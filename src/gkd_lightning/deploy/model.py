"""`gkd_lightning.load`: a finished student in Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from gkd_lightning.data import Image, LabelSpace, overlay, protocol_for, read_image
from gkd_lightning.deploy.finished import Predictor, load_finished
from gkd_lightning.deploy.temperature import checked_temperature, chosen_temperature
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import confidence as share_of_best
from gkd_lightning.segment import best_classes, finds_segments, queries_of, segments_found


class Found(NamedTuple):
    """What was asked for of one image, at its own size; see `Prediction`."""

    ids: NDArray[np.uint8]
    confidence: NDArray[np.float32] | None = None
    scores: NDArray[np.float32] | None = None
    codes: NDArray[np.int32] | None = None
    """Segments (H, W), `class + 256 * k`, 255 where there is none."""
    segment_scores: Mapping[int, float] | None = None
    """Class probability of each segment, by code."""


@dataclass(frozen=True)
class Prediction:
    """One image, at its own size.

    Attributes:
        ids: (H, W) uint8, positions in `SegmentationModel.classes`.
        scores: (K, H, W) float32, of the classes; what they mean is the head's matter.
        confidence: (H, W) float32 in [0, 1], the share of a pixel's scores that its class has, at the model's
            temperature.
    """

    ids: NDArray[np.uint8]
    scores: NDArray[np.float32]
    confidence: NDArray[np.float32]


class SegmentationModel:
    """A segmenter that is ready to use, see `load`.

    Attributes:
        classes: names, by id.
        palette: colours (red, green, blue), by id.
        record: `segmenter.json` or `export.json`.
        temperature: of the confidence, see `evaluate.confidence`; classes and scores do not depend on it.
    """

    def __init__(
        self,
        segmenter: Predictor,
        label_space: LabelSpace,
        record: dict[str, Any],
        device: str,
        temperature: float = 1.0,
    ) -> None:
        self.segmenter, self.label_space, self.record, self.device = segmenter, label_space, record, device
        self.temperature = temperature
        self.classes, self.palette = label_space.names, label_space.palette

    def predict(self, images: Any, domain: str | None = None) -> Any:
        """Segment images as they were judged: resized by the same rule, in the same windows.

        Args:
            images: a path, a PIL image, an array (H, W, 3) or tensor (3, H, W) of uint8 RGB; or several of them in a
                list, each of any size.
            domain: one of the domains that it was judged on, where they were resized by different rules.

        Returns:
            A `Prediction`, or a list of them if a list was given.

        Raises:
            UserError: an image that cannot be read, or is no RGB picture of uint8.
        """
        if isinstance(images, Iterable) and not isinstance(images, str | Path | np.ndarray | torch.Tensor):
            return [self.predict(image, domain) for image in images]
        (found,) = self.find([as_image(images)], domain, confidence=True, scores=True)
        assert found.scores is not None
        assert found.confidence is not None
        return Prediction(found.ids, found.scores, found.confidence)

    def ids(self, image: Any, domain: str | None = None) -> NDArray[np.uint8]:
        """The class ids of one image alone, for less memory; see `predict`."""
        return self.find([as_image(image)], domain)[0].ids

    def find(
        self,
        images: Sequence[Image],
        domain: str | None = None,
        *,
        confidence: bool = False,
        scores: bool = False,
        panoptic: bool = False,
    ) -> list[Found]:
        """Segment images of one size in one batch, and bring back no more than what is asked for.

        Args:
            images: RGB uint8 (H, W, 3), all of the same size.
            domain: see `predict`.
            confidence: whether each pixel's is wanted.
            scores: whether those of all classes are wanted.
            panoptic: whether segments are wanted, of a segmenter that `finds_segments`.
        """
        height, width = images[0].shape[:2]
        rule = protocol_for(self.record, domain)
        batch = np.stack([rule.resized(image) for image in images]).transpose(0, 3, 1, 2)
        pixels = torch.from_numpy(batch).contiguous().to(self.device)
        with torch.inference_mode():
            if panoptic:
                plain = self.find(images, domain, confidence=confidence, scores=scores)
                assert finds_segments(self.segmenter)
                output = queries_of(self.segmenter, pixels)
                maps = segments_found(self.segmenter, output, (height, width), self.label_space)
                return [
                    found._replace(codes=each.codes.cpu().numpy(), segment_scores=each.scores)
                    for found, each in zip(plain, maps, strict=True)
                ]
            if not (confidence or scores):  # which a graph of ids alone can do too
                alone = self.segmenter.predict(pixels, (height, width)).to(torch.uint8).cpu().numpy()
                return [Found(ids, None, None) for ids in alone]
            of_all = self.segmenter.scores(pixels, (height, width))
            ids = best_classes(of_all)
            sure = share_of_best(of_all, self.temperature) if confidence else None
        on_host = ids.to(torch.uint8).cpu().numpy()
        return [
            Found(
                on_host[index],
                None if sure is None else sure[index].cpu().numpy(),
                of_all[index].cpu().numpy() if scores else None,
            )
            for index in range(len(images))
        ]

    def overlay(self, image: Any, prediction: Prediction) -> Image:
        """The image under the colours of its classes, uint8 (H, W, 3)."""
        return overlay(as_image(image), prediction.ids, self.label_space)


def load(path: str | Path, device: str = "auto", temperature: float | str | None = None) -> SegmentationModel:
    """Open a finished student.

    Args:
        path: `segmenter.safetensors`, its folder, or the folder of an export.
        device: where a checkpoint computes: ``auto``, ``cpu``, ``cuda`` ...; an export computes on the CPU.
        temperature: of the confidence: a number, or ``auto`` for the one that the run above it has fitted on the
            source; None takes what the export was made with, else 1.

    Raises:
        UserError: neither of them, a damaged file, a runtime that is not installed, no such device or temperature.
    """
    checked_temperature(temperature)
    finished = load_finished(path, device)
    parameter = next(finished.segmenter.parameters(), None) if isinstance(finished.segmenter, torch.nn.Module) else None
    heat = chosen_temperature(temperature, path, finished.record)
    return SegmentationModel(*finished, "cpu" if parameter is None else str(parameter.device), heat)


def as_image(value: Any) -> Image:
    """RGB uint8 (H, W, 3) of a path, a PIL image, an array (H, W, 3) or a tensor (3, H, W).

    Raises:
        UserError: it is none of them.
    """
    if isinstance(value, str | Path):
        return read_image(value)
    if isinstance(value, Pillow.Image):
        return np.asarray(value.convert("RGB"))
    if isinstance(value, torch.Tensor):
        value = value.permute(1, 2, 0).cpu().numpy() if value.ndim == 3 else value.cpu().numpy()
    found = np.asarray(value)
    if found.dtype != np.uint8 or found.ndim != 3 or found.shape[2] != 3:
        raise UserError(
            f"an image of {found.dtype} {list(found.shape)}: give RGB uint8, an array (H, W, 3) or a tensor (3, H, W)"
        )
    return found
