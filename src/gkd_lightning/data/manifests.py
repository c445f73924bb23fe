"""A fingerprint of the data a run used, so that two results can be told to rest on the same images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gkd_lightning.data import archives
from gkd_lightning.data.segments import has_instances
from gkd_lightning.data.types import ImageDataset

_LOOKS = 8
"""Images of a data set without files that are hashed pixel by pixel."""


def manifest(dataset: ImageDataset, labels: bool, instances: bool = False) -> dict[str, Any]:
    """`{"images": n, "sha256": ...}` over names and file sizes; of data without files, names and some pixels.

    Args:
        labels: whether the labels are used too. If not, none is looked at.
        instances: whether its instances are, where it has any.
    """
    digest = hashlib.sha256()
    for line in _lines(dataset, used(dataset, labels, instances)):
        digest.update(line.encode() + b"\n")
    return {"images": len(dataset), "sha256": digest.hexdigest()}


def combined_manifest(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One manifest over several, with the parts below `domains`."""
    digest = hashlib.sha256("".join(f"{name} {part['sha256']}\n" for name, part in manifests.items()).encode())
    images = sum(part["images"] for part in manifests.values())
    return {"images": images, "sha256": digest.hexdigest(), "domains": manifests}


def used(dataset: ImageDataset, labels: bool, instances: bool) -> list[str]:
    """Methods of a data set that give what is used of it, beside `image`."""
    return ["label"] * labels + ["instances"] * (instances and has_instances(dataset))


def _lines(dataset: ImageDataset, further: Sequence[str]) -> Iterator[str]:
    looks = set(range(0, len(dataset), max(1, len(dataset) // _LOOKS)))
    if not hasattr(dataset, "image_path"):  # its pixels come from elsewhere, and from these
        yield from (f"{path.name} {archives.sha256(path)}" for path in getattr(dataset, "shared_files", ()))
    for index in range(len(dataset)):
        parts = [dataset.name(index)]
        for what in ("image", *further):
            if hasattr(dataset, f"{what}_path"):
                path: Path = getattr(dataset, f"{what}_path")(index)
                parts.append(str(archives.file_state(path).size))
            elif index in looks and hasattr(dataset, what):
                parts.append(hashlib.sha256(getattr(dataset, what)(index).tobytes()).hexdigest())
        yield " ".join(parts)
