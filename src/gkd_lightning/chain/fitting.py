"""The largest batch of a stage that fits into a device's memory, and how the global batch is made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gkd_lightning.errors import UserError

FINENESS = 16
"""The search ends when the largest batch is known to a sixteenth."""


@dataclass(frozen=True)
class FittedBatch:
    """What one device can take at once, and the stage's global batch in such pieces.

    Attributes:
        stage: its name in the recipe.
        at_once: images, largest that fit to a sixteenth, for each batch; nothing beyond the data set is tried.
        peak_bytes: with these.
        limit_bytes: that were given; None for all of the GPU's.
        batches: the global ones, which stay as they are; mostly one.
        image_sizes: sides in pixels of each batch's images; empty for one batch.
        devices: that share it, over all nodes.
        accumulate: batches accumulated for a step, the fewest that fit, whichever the size.
        asked: batches accumulated as configured.
    """

    stage: str
    at_once: tuple[int, ...]
    peak_bytes: tuple[int, ...]
    limit_bytes: int | None
    batches: tuple[int, ...]
    image_sizes: tuple[int, ...]
    devices: int
    accumulate: int
    asked: int

    def __str__(self) -> str:
        limit = "" if self.limit_bytes is None else f" of {self.limit_bytes / 2**30:.2f}"
        share = listed([batch // (self.devices * self.accumulate) for batch in self.batches], "or")
        sides = [f" of {side} pixels" for side in self.image_sizes] or [""]
        largest = ", or ".join(
            f"{images} images{side}, {peak / 2**30:.2f}{limit} GiB"
            for images, side, peak in zip(self.at_once, sides, self.peak_bytes, strict=True)
        )
        text = (
            f"  largest batch on one device: {largest}; "
            f"data.batch_size {listed(self.batches, 'or')}, and with it the learning rate, stays: "
            f"{self.devices} devices x {share} images x {self.accumulate} accumulated"
        )
        if self.accumulate == self.asked:
            return text
        return f"{text}: --set {self.stage}:trainer.accumulate_grad_batches={self.accumulate}"


def listed(numbers: Sequence[object], word: str) -> str:
    """``32, 16 or 8``."""
    *first, last = map(str, numbers)
    return f"{', '.join(first)} {word} {last}" if first else last


def largest(fits: Callable[[int], bool], first: int, most: int) -> int:
    """The largest number up to `most` that fits, by doubling `first` and then halving the gap; to a sixteenth, or 0.

    Numbers below one that fits are taken to fit.
    """
    good, number = 0, min(first, most)
    while fits(number):
        good = number
        if number == most:
            return good
        number = min(2 * number, most)
    bad = number
    while bad - good > max(good // FINENESS, 1):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def accumulated(batches: Sequence[int], devices: int, at_once: Sequence[int]) -> int:
    """The fewest accumulated batches with which every global batch fits on `devices`, which take `at_once` of its
    images each."""
    for batch in batches:
        if batch % devices:
            raise UserError(f"data.batch_size: {batch} cannot be divided by {devices} devices")
    shares = [batch // devices for batch in batches]
    for parts in range(1, min(shares) + 1):
        each = zip(shares, at_once, strict=True)
        if all(share % parts == 0 and share // parts <= images for share, images in each):
            return parts
    raise UserError(
        f"data.batch_size: {listed(batches, 'and')} have no common number of accumulated batches with which {devices} "
        f"devices take at most {listed(at_once, 'and')} images at once; give numbers with a larger common divisor"
    )


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a device's memory was too small; cuBLAS has words of its own for it."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "CUBLAS_STATUS_ALLOC_FAILED" in str(error)
