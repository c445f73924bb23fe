"""The largest batch of a stage that fits into a device's memory, and how the global batch is made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gkd_lightning.errors import UserError

FINENESS = 16
"""The search ends when the largest batch is known to a sixteenth."""


@dataclass(frozen=True)
class FittedBatch:
    """What one device can take at once, and the stage's global batch in such pieces.

    Attributes:
        stage: its name in the recipe.
        at_once: images, largest that fit to a sixteenth; nothing beyond the data set is tried.
        peak_bytes: with these.
        limit_bytes: that were given; None for all of the GPU's.
        batch: the global one, which stays as it is.
        devices: that share it, over all nodes.
        accumulate: batches accumulated for a step, the fewest that fit.
        asked: batches accumulated as configured.
    """

    stage: str
    at_once: int
    peak_bytes: int
    limit_bytes: int | None
    batch: int
    devices: int
    accumulate: int
    asked: int

    def __str__(self) -> str:
        limit = "" if self.limit_bytes is None else f" of {self.limit_bytes / 2**30:.2f}"
        share = self.batch // (self.devices * self.accumulate)
        text = (
            f"  largest batch on one device: {self.at_once} images, {self.peak_bytes / 2**30:.2f}{limit} GiB; "
            f"data.batch_size {self.batch}, and with it the learning rate, stays: "
            f"{self.devices} devices x {share} images x {self.accumulate} accumulated"
        )
        if self.accumulate == self.asked:
            return text
        return f"{text}: --set {self.stage}:trainer.accumulate_grad_batches={self.accumulate}"


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


def accumulated(batch: int, devices: int, at_once: int) -> int:
    """The fewest accumulated batches with which a global `batch` fits on `devices` that take `at_once` images each."""
    if batch % devices:
        raise UserError(f"data.batch_size: {batch} cannot be divided by {devices} devices")
    share = batch // devices
    return next(parts for parts in range(1, share + 1) if share % parts == 0 and share // parts <= at_once)


def out_of_memory(error: RuntimeError) -> bool:
    """Whether a device's memory was too small; cuBLAS has words of its own for it."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "CUBLAS_STATUS_ALLOC_FAILED" in str(error)
