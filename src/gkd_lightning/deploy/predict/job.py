"""What the segmentation of images and of videos have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from gkd_lightning.data import Image
from gkd_lightning.deploy.model import Found, SegmentationModel
from gkd_lightning.deploy.predict.products import Products
from gkd_lightning.deploy.predict.progress import Progress
from gkd_lightning.deploy.predict.totals import Totals

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """One call of `gkd predict`.

    Attributes:
        model: the segmenter.
        domain: whose rule of resizing is followed.
        batch: images of one size that go through the segmenter together.
        out: where everything goes.
        of_images: what is written of an image.
        of_frames: what is written of a frame, beside the overlay video.
        progress: what is finished.
        totals: how fast it goes.
        problems: what could not be read, a line each.
    """

    model: SegmentationModel
    domain: str | None
    batch: int
    out: Path
    of_images: Products
    of_frames: Products
    progress: Progress
    totals: Totals = field(default_factory=Totals)
    problems: list[str] = field(default_factory=list)

    def segment(self, images: Sequence[Image], products: Products) -> list[Found]:
        """Segment images of one size; the classes that are not wanted are cut out."""
        with self.totals.batch(len(images)):
            found = self.model.find(images, self.domain, **products.needs)
        self.progress.begin()
        return [products.cut(each) for each in found]


def frame_name(name: str, index: int) -> str:
    """Name of a video's frame among the outputs."""
    return f"{name}/{index:06d}"


def in_batches(items: Iterable[T], size: int, alike: Callable[[T], object]) -> Iterator[list[T]]:
    """Neighbours that are alike, at most `size` together."""
    batch: list[T] = []
    for item in items:
        if batch and (len(batch) == size or alike(item) != alike(batch[0])):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch
