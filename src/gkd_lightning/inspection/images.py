"""The images that are looked at: a folder, or the domains of a data configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from gkd_lightning.data import Image, ImageDataset, ProxyImages, SegmentationDataset, evenly
from gkd_lightning.encoders import Encoder
from gkd_lightning.errors import UserError, nearest
from gkd_lightning.recipes import datasets_of

Domains = Mapping[str, ImageDataset]


class Shown(NamedTuple):
    """One image."""

    domain: str
    name: str
    image: Image


def find_domains(images: str | None, data: str | None, chosen: str | None) -> dict[str, ImageDataset]:
    """Data sets by domain.

    Args:
        images: a folder of images, the only domain.
        data: a fragment such as ``data/minicity_targets.yaml``.
        chosen: names of its domains with commas between them; None takes all.

    Raises:
        UserError: not just one of `images` and `data`, a domain that is none, or no image.
    """
    if (images is None) == (data is None):
        raise UserError("--images, --data: give one of them, a folder of images or a data configuration")
    if images is not None:
        if chosen is not None:
            raise UserError("--domains: a folder of images has none, they are those of --data")
        found: dict[str, ImageDataset] = {images.rstrip("/").rpartition("/")[2]: ProxyImages(images)}
    else:
        assert data is not None
        found = dict(datasets_of(data))
        for name in () if chosen is None else chosen.split(","):
            if name not in found:
                raise UserError(
                    f"--domains {name}: {data} has none of that name{nearest(name, found)} ({_list(found)})"
                )
        found = {name: found[name] for name in (found if chosen is None else chosen.split(","))}
    for name, dataset in found.items():
        if len(dataset) == 0:
            raise UserError(f"{images or data}: {name}: no image")
    return found


def labelled(domains: Domains, where: str) -> dict[str, SegmentationDataset]:
    """The same domains, all of which have labels.

    Raises:
        UserError: one has none.
    """
    found = {}
    for name, dataset in domains.items():
        if not isinstance(dataset, SegmentationDataset):
            raise UserError(f"{where}: {name}: has no labels, which the task's loss needs")
        found[name] = dataset
    return found


def few(domains: Domains, count: int) -> list[Shown]:
    """At most `count` images of every domain, spread over it."""
    return [
        Shown(name, dataset.name(index), dataset.image(index))
        for name, dataset in domains.items()
        for index in evenly(dataset, count)
    ]


def batches(dataset: ImageDataset, indices: Sequence[int], size: int = 8) -> Iterator[list[Image]]:
    """Images in groups, so that memory does not grow with their number."""
    for start in range(0, len(indices), size):
        yield [dataset.image(index) for index in indices[start : start + size]]


def fitted(images: Sequence[Image], encoder: Encoder) -> list[Image]:
    """Stretched to the size that the encoder's weights are laid out for."""
    height, width = encoder.image_size
    return [
        np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8) for image in images
    ]


def stacked(images: Sequence[Image], encoder: Encoder) -> Tensor:
    """A batch (B, 3, H, W) uint8 for the encoder, on its device."""
    device = next(encoder.parameters()).device
    return torch.from_numpy(np.stack(fitted(images, encoder))).permute(0, 3, 1, 2).to(device)


def _list(names: Mapping[str, object]) -> str:
    return ", ".join(names)
