"""`gkd inspect gradients` of checkpoints: would the task and the teacher pull this encoder the same way?

Neither the projection of a distillation nor, for a student, a head is in an artefact. Both are replaced by the best
straight line, in closed form, so that the encoder alone is judged and nothing is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gkd_lightning.data import SegmentationDataset, evenly, require_instances, segments_of
from gkd_lightning.distill import resize_tokens
from gkd_lightning.encoders import Encoder
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import (
    ENCODER,
    Conflict,
    Line,
    LinearMap,
    LinearProbe,
    Readout,
    class_shares,
    conflicts,
    gradients,
    stacked,
)
from gkd_lightning.inspection.images import Domains
from gkd_lightning.inspection.output import write_findings
from gkd_lightning.inspection.sources import Source, find_sources, find_teacher, on_device
from gkd_lightning.report import parts_png
from gkd_lightning.segment import load_segmenter, unfrozen

BATCH = 8
TaskLoss = Literal["head", "readout"]
"""``head``: that of the segmenter's own head; ``readout``: squared error of a linear probe of patch tokens."""


class Images(NamedTuple):
    """Labelled images of one data set, a few of which are read at a time."""

    dataset: SegmentationDataset
    indices: list[int]

    def batches(self, encoder: Encoder, *others: Encoder) -> Iterator[tuple[list[Tensor], Tensor, list[int]]]:
        """Images for each of the encoders, labels (B, H, W) uint8 in the first one's size, and their indices."""
        device = next(encoder.parameters()).device
        height, width = encoder.image_size
        for start in range(0, len(self.indices), BATCH):
            chosen = self.indices[start : start + BATCH]
            pictures = [self.dataset.image(index) for index in chosen]
            labels = [
                cv2.resize(self.dataset.label(index), (width, height), interpolation=cv2.INTER_NEAREST)
                for index in chosen
            ]
            images = [stacked(pictures, each) for each in (encoder, *others)]
            yield images, torch.from_numpy(np.stack(labels)).to(device), chosen

    def codes(self, indices: Sequence[int], like: Tensor) -> Tensor:
        """Codes of segments (B, H, W) int32 of some images, in the size and place of their labels."""
        size = (like.shape[-1], like.shape[-2])
        codes = [segments_of(self.dataset, index, self.dataset.label(index)) for index in indices]
        found = [cv2.resize(each, size, interpolation=cv2.INTER_NEAREST) for each in codes]
        return torch.from_numpy(np.stack(found)).to(like.device)

    def shares(self, labels: Tensor, grid: tuple[int, int]) -> Tensor:
        """See `class_shares`."""
        space = self.dataset.label_space
        return class_shares(labels, grid, len(space), space.ignore)


def inspect_gradients(
    places: Sequence[str],
    domains: Domains,
    out: str | Path,
    teacher: str | None = None,
    count: int = 64,
    device: str = "auto",
) -> list[Path]:
    """Write ``gradients.png``, ``.csv`` and ``.json``.

    The task's loss is that of the segmenters' own heads if all of `places` are segmenters, else that of a linear
    read-out of the patch tokens, so that the numbers of one table are comparable. The distillation's loss is the mean
    squared error between the teacher's patch tokens and the best linear map of the student's. Of the domains the first
    one is taken.

    Raises:
        UserError: a place or a teacher that is none, or images without labels.
    """
    if count < 1:
        raise UserError(f"--count {count}: give at least one image")
    sources = find_sources(places)
    teaching = on_device(find_teacher(teacher, sources), device)
    domain, dataset = next(iter(domains.items()))
    if not isinstance(dataset, SegmentationDataset):
        raise UserError(f"--data: {domain}: has no labels, which the task's loss needs")
    images = Images(dataset, evenly(dataset, count))
    kind: TaskLoss = "head" if all(source.is_segmenter for source in sources) else "readout"
    found = {source.title: checkpoint_conflict(source, teaching, images, kind, device) for source in sources}
    table = [
        {
            "checkpoint": title, "part": part, "cosine": _rounded(each.cosine),
            "task_norm": _rounded(each.task_norm), "distillation_norm": _rounded(each.distillation_norm),
        }
        for title, parts in found.items()
        for part, each in parts.items()
    ]  # fmt: skip
    record = {
        "task_loss": kind,
        "teacher": teaching.spec.name,
        "checkpoints": {source.title: str(source.weights) for source in sources},
        "domain": domain,
        "images": len(images.indices),
        "cosine": {title: _rounded(parts[ENCODER].cosine) for title, parts in found.items()},
    }
    return write_findings(out, "gradients", parts_png(found, _note(domain, len(images.indices), kind)), table, record)


def checkpoint_conflict(
    source: Source, teacher: Encoder, images: Images, kind: TaskLoss, device: str = "auto"
) -> dict[str, Conflict]:
    """Conflict of the two losses' gradients over all `images`, by part of the encoder, see `conflicts`."""
    segmenter = load_segmenter(source.weights).segmenter if kind == "head" else None
    encoder = on_device(source.encoder() if segmenter is None else unfrozen(segmenter.encoder), device)
    classes = len(images.dataset.label_space)
    if segmenter is not None:
        segmenter.encoder = encoder  # out of its frozen wrapper
        segmenter.to(next(encoder.parameters()).device)
        if segmenter.head.num_classes != classes:
            raise UserError(f"{source.weights}: tells {segmenter.head.num_classes} classes apart, not {classes}")
        if segmenter.head.panoptic:
            require_instances("--data", images.dataset)
    line, readout = _fitted(encoder, teacher, images)
    encoder.requires_grad_(True)
    parameters = dict(encoder.named_parameters())
    sums = [{name: torch.zeros_like(value) for name, value in parameters.items()} for _ in range(2)]
    for (ours, theirs), labels, indices in images.batches(encoder, teacher):
        passed = None if segmenter is None else segmenter.passed(ours)
        tokens = encoder.tokens(ours) if passed is None else passed.tokens
        keys = resize_tokens(teacher.tokens(theirs), tokens.grid).patches
        distillation = F.mse_loss(line(tokens.patches), keys)
        if segmenter is not None and passed is not None:
            truth = images.codes(indices, labels) if segmenter.head.panoptic else labels
            task = segmenter.head.loss(passed.output, truth, torch.tensor(indices)).total
        else:
            task = _readout_loss(readout(tokens.patches), images.shares(labels, tokens.grid))
        share = len(indices) / len(images.indices)
        for total, loss, keep in zip(sums, (task, distillation), (True, False), strict=True):
            for name, gradient in gradients(loss, parameters, keep_graph=keep).items():
                total[name] += share * gradient
    return conflicts(*sums)


def _readout_loss(predicted: Tensor, shares: Tensor) -> Tensor:
    known = shares.sum(-1, keepdim=True)  # a patch counts by its labelled pixels, as in the fit
    return ((predicted - shares / known.clamp_min(1e-6)).square() * known).sum() / known.sum().clamp_min(1)


@torch.no_grad()
def _fitted(encoder: Encoder, teacher: Encoder, images: Images) -> tuple[Line, Readout]:
    """The best lines from the encoder's patch tokens to the teacher's and to the labels."""
    align = LinearMap(encoder.embed_dim, teacher.embed_dim)
    probe = LinearProbe(encoder.embed_dim, len(images.dataset.label_space))
    for (ours, theirs), labels, _ in images.batches(encoder, teacher):
        tokens = encoder.tokens(ours)
        keys = resize_tokens(teacher.tokens(theirs), tokens.grid).patches
        align.add(tokens.patches.flatten(0, 1), keys.flatten(0, 1))
        probe.add(tokens.patches, images.shares(labels, tokens.grid))
    return align.solve(), probe.solve()


def _note(domain: str, count: int, kind: TaskLoss) -> str:
    where = f"{count} images" if domain == "dataset" else f"{count} images of {domain}"
    loss = "the segmenters' own heads" if kind == "head" else "a linear read-out of patch tokens"
    return f"task: {loss}; {where}"


def _rounded(value: float) -> float | None:
    return None if value != value else float(f"{value:.6g}")
