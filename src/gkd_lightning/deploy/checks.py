"""Is an export still the model that was judged? Both see the same images, each run by its own runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gkd_lightning.data import Image, ImageDataset, LabelSpace, Protocol, SegmentationDataset, evenly
from gkd_lightning.deploy.arrays import Picture
from gkd_lightning.deploy.exported import ExportedSegmenter
from gkd_lightning.deploy.window_graph import WindowGraph
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import ConfusionMatrix, confidence, mean_iou
from gkd_lightning.segment import Segmenter

EQUAL_PIXELS = 99.9
"""Percent of the pixels that a graph in fp32 has to agree on."""


@dataclass(frozen=True)
class DomainCheck:
    """Both on one domain.

    Attributes:
        domain: its name.
        images: how many.
        equal: percent of pixels with the same class as in PyTorch, in the same windows.
        judged: mIoU in percent of the segmenter; None without labels.
        exported: that of the export.
    """

    domain: str
    images: int
    equal: float
    judged: float | None = None
    exported: float | None = None

    @property
    def loss(self) -> float:
        """Points of mIoU that the export loses; 0 without labels."""
        return 0.0 if self.judged is None or self.exported is None else self.judged - self.exported

    def asdict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        scores = "" if self.judged is None else f", mIoU {self.judged:.2f} as judged, {self.exported:.2f} exported"
        return f"{self.domain}: {self.equal:.3f} % of the pixels of {self.images} images equal{scores}"


def compare(
    segmenter: Segmenter,
    graph: WindowGraph,
    exported: ExportedSegmenter,
    domains: Mapping[str, ImageDataset],
    protocols: Mapping[str, Protocol],
    count: int,
) -> list[DomainCheck]:
    """Segment the same images with both, as an evaluation does.

    Args:
        segmenter: as it was judged, with its own windows: what mIoU is compared with.
        graph: what was exported, in PyTorch, with the windows of the export: what pixels are compared with.
        exported: in its own runtime.
        domains: labels are used where there are some with the segmenter's classes.
        protocols: how each domain's images are resized.
        count: at most so many images of every domain.

    Raises:
        UserError: the outputs of the export contradict each other.
    """
    twin = _Twin(graph, exported)
    return [
        _on_domain(segmenter, twin, exported, name, dataset, protocols[name], count)
        for name, dataset in domains.items()
    ]


class _Twin(ExportedSegmenter):
    """The graph in PyTorch, in the windows of an export."""

    def __init__(self, graph: WindowGraph, exported: ExportedSegmenter) -> None:
        self.graph = graph
        super().__init__(exported.record, Path())

    def _open(self, model: Path) -> None:
        pass

    def _run(self, images: Picture) -> list[NDArray[Any]]:
        with torch.inference_mode():
            return [found.numpy() for found in self.graph(torch.from_numpy(images))]


def _on_domain(
    segmenter: Segmenter,
    twin: _Twin,
    exported: ExportedSegmenter,
    name: str,
    dataset: ImageDataset,
    protocol: Protocol,
    count: int,
) -> DomainCheck:
    space = exported.label_space
    labelled = dataset if isinstance(dataset, SegmentationDataset) and _same(dataset.label_space, space) else None
    matrices = [ConfusionMatrix(len(space), labelled.label_space.ignore if labelled else space.ignore) for _ in "ab"]
    equal = pixels = 0
    chosen = evenly(dataset, count)
    for index in chosen:
        image = dataset.image(index)
        label = None if labelled is None else np.asarray(labelled.label(index))
        size = (image.shape[0], image.shape[1]) if label is None else (label.shape[0], label.shape[1])
        resized = protocol.resized(image)
        resized = np.ascontiguousarray(covering(resized, exported.window) if label is None else resized)[None]
        _require_agreement(exported, resized[:, : exported.window[0], : exported.window[1]], dataset.name(index))
        ours, theirs = twin.predict(resized, size), exported.predict(resized, size)
        equal, pixels = equal + int((ours == theirs).sum()), pixels + ours.size
        if label is not None:
            with torch.inference_mode():
                judged = segmenter.predict(torch.from_numpy(resized).permute(0, 3, 1, 2), size)
            for matrix, ids in zip(matrices, (judged, torch.from_numpy(theirs).long()), strict=True):
                matrix.update(ids, torch.from_numpy(label)[None], [dataset.name(index)])
    scores = [None, None] if labelled is None else [mean_iou(matrix.compute()) for matrix in matrices]
    return DomainCheck(name, len(chosen), 100 * equal / pixels, *scores)


def _require_agreement(exported: ExportedSegmenter, window: Picture, name: str) -> None:
    """Ids and confidence have to be those of the scores, where the graph gives these."""
    found = exported.outputs(np.ascontiguousarray(window))
    if "scores" not in found:
        return
    scores = found["scores"]
    wanted = {"ids": found["ids"] == scores.argmax(1)}
    if "confidence" in found:
        sure = confidence(torch.from_numpy(scores), exported.record.get("temperature", 1.0)).numpy()
        wanted["confidence"] = abs(found["confidence"] - sure) < 0.01
    for output, equal in wanted.items():
        share = 100 * float(equal.mean())
        if share < EQUAL_PIXELS:
            raise UserError(
                f"the export's scores and {output} contradict each other, nothing is kept: {share:.1f} % fit in {name}"
            )


def covering(image: Image, window: tuple[int, int]) -> Image:
    """The image, enlarged where it is smaller than a window (height, width)."""
    scale = max(1.0, window[0] / image.shape[0], window[1] / image.shape[1])
    if scale == 1:
        return image
    size = (max(window[1], round(image.shape[1] * scale)), max(window[0], round(image.shape[0] * scale)))
    return Protocol("exact", size).resized(image)


def _same(found: LabelSpace, own: LabelSpace) -> bool:
    return found.names == own.names


def refuse(checks: list[DomainCheck], exact: bool, tolerate: float) -> None:
    """Stop if the export is another model than the one that was judged.

    Args:
        checks: by domain.
        exact: whether its pixels have to be the same: fp32.
        tolerate: points of mIoU that it may lose on a domain.

    Raises:
        UserError: names the domain.
    """
    for check in checks:
        if exact and check.equal < EQUAL_PIXELS:
            raise UserError(
                f"the export is not the model that was judged, nothing is kept: {check} (wanted: {EQUAL_PIXELS} %)"
            )
        if check.loss > tolerate:
            raise UserError(
                f"the export loses {check.loss:.2f} points, --tolerate allows {tolerate}, nothing is kept: {check}"
            )
