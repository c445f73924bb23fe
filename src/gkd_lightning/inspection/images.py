"""The images that are looked at: a folder, or the domains of a data configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from gkd_lightning.data import Image, ImageDataset, ProxyImages, evenly
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
                    f"--domains {name}: {data} has none of that name{nearest(name, found)} ({', '.join(found)})"
                )
        found = {name: found[name] for name in (found if chosen is None else chosen.split(","))}
    for name, dataset in found.items():
        if len(dataset) == 0:
            raise UserError(f"{images or data}: {name}: no image")
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
