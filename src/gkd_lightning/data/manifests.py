"""A fingerprint of the data a run used, so that two results can be told to rest on the same images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gkd_lightning.data.types import ImageDataset, SegmentationDataset

_LOOKS = 8
"""Images of a data set without files that are hashed pixel by pixel."""


@runtime_checkable
class ImageFiles(Protocol):
    """A data set whose images are files."""

    def image_path(self, index: int) -> Path:
        """The image's file."""
        ...


@runtime_checkable
class LabelFiles(Protocol):
    """A data set whose labels are files."""

    def label_path(self, index: int) -> Path:
        """The label's file."""
        ...


def manifest(dataset: ImageDataset, labels: bool) -> dict[str, Any]:
    """`{"images": n, "sha256": ...}` over names and file sizes; of data without files, names and some pixels.

    Args:
        labels: whether the labels are used too. If not, none is looked at.
    """
    digest = hashlib.sha256()
    for line in _lines(dataset, labels):
        digest.update(line.encode() + b"\n")
    return {"images": len(dataset), "sha256": digest.hexdigest()}


def combined_manifest(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One manifest over several, with the parts below `domains`."""
    digest = hashlib.sha256("".join(f"{name} {part['sha256']}\n" for name, part in manifests.items()).encode())
    images = sum(part["images"] for part in manifests.values())
    return {"images": images, "sha256": digest.hexdigest(), "domains": manifests}


def _lines(dataset: ImageDataset, labels: bool) -> Iterator[str]:
    images_on_disk, labels_on_disk = isinstance(dataset, ImageFiles), isinstance(dataset, LabelFiles)
    looks = set(range(0, len(dataset), max(1, len(dataset) // _LOOKS)))
    for index in range(len(dataset)):
        parts = [dataset.name(index)]
        if images_on_disk:
            parts.append(_size(dataset, "image_path", index))
        elif index in looks:
            parts.append(hashlib.sha256(dataset.image(index).tobytes()).hexdigest())
        if labels and labels_on_disk:
            parts.append(_size(dataset, "label_path", index))
        elif labels and index in looks and isinstance(dataset, SegmentationDataset):
            parts.append(hashlib.sha256(dataset.label(index).tobytes()).hexdigest())
        yield " ".join(parts)


def _size(dataset: ImageDataset, method: str, index: int) -> str:
    path: Path = getattr(dataset, method)(index)
    return str(path.stat().st_size)
