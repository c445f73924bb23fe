"""Everything that is measured of a domain's segments: panoptic quality, and mask AP where its library is installed."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from gkd_lightning.data import INSTANCE, LabelSpace
from gkd_lightning.evaluate.panoptic import PanopticCounter, PanopticScore, panoptic_score


class InstanceMasks(NamedTuple):
    """Things of one image, the surest first; they may overlap."""

    masks: Tensor
    """(N, H, W) bool."""
    classes: Tensor
    """(N,) int64."""
    scores: Tensor
    """(N,) float32."""


class SegmentScores(nn.Module):
    """Counts the segments of a domain; ranks are added up.

    Args:
        space: the classes.
    """

    def __init__(self, space: LabelSpace) -> None:
        super().__init__()
        self.space = space
        self.quality = PanopticCounter(len(space), space.ignore)
        self.precision: Any = mask_precision() if ap_is_measured() else None

    def update(self, codes: Tensor, truth: Tensor, instances: Sequence[InstanceMasks]) -> None:
        """Count images.

        Args:
            codes: (B, H, W) int32 that were found, `class + 256 * k`.
            truth: the true ones.
            instances: of each image, for mask AP.
        """
        self.quality.update(codes, truth)
        if self.precision is not None:
            found = [{"masks": each.masks, "labels": each.classes, "scores": each.scores} for each in instances]
            self.precision.update(found, [_things(image) for image in truth])

    def score(self) -> PanopticScore:
        """Of all ranks together; what was counted is forgotten."""
        overlap, counts = self.quality.compute()
        ap = None
        if self.precision is not None:
            with warnings.catch_warnings(action="ignore"):  # of images without a thing
                mean = float(self.precision.compute()["map"])
            ap = None if mean < 0 else 100 * mean  # -1: there is no thing at all
            self.precision.reset()
        score = panoptic_score(overlap, counts, self.space.names, self.space.things, ap)
        self.quality.reset()
        return score


def ap_is_measured() -> bool:
    """Whether ``pycocotools``, which computes mask AP, is installed."""
    return importlib.util.find_spec("pycocotools") is not None


def mask_precision() -> Any:
    """torchmetrics' mask AP, by ``pycocotools``: mean over thresholds 0.50 to 0.95 and classes, 100 masks an image."""
    from torchmetrics.detection import MeanAveragePrecision

    return MeanAveragePrecision(iou_type="segm", backend="pycocotools")


def _things(codes: Tensor) -> dict[str, Tensor]:
    found = codes.unique()
    found = found[found >= INSTANCE]
    return {"masks": codes[None] == found[:, None, None], "labels": found.long() % INSTANCE}
