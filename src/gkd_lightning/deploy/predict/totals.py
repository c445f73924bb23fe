"""How fast it went."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_EVERY = 1.0
"""Seconds between two looks of the line that shows how far a video is."""


@dataclass
class Totals:
    """Images and seconds of one call.

    Attributes:
        images: how many were segmented, frames of videos among them.
        before: inputs that an earlier call had finished.
        seconds: from the first look at an image to the last file, without loading the segmenter.
        computing: of them in the segmenter; the first batch, which is slower, is left out if there are others.
    """

    images: int = 0
    before: int = 0
    seconds: float = 0.0
    computing: float = 0.0
    _measured: int = 0
    _batches: int = 0
    _shown: float = field(default=0.0, repr=False)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Around everything."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - begun

    @contextmanager
    def batch(self, size: int) -> Iterator[None]:
        """Around the segmenter's work on some images."""
        begun = time.perf_counter()
        yield
        if self._batches == 1:
            self.computing = self._measured = 0
        self.images, self._measured, self._batches = self.images + size, self._measured + size, self._batches + 1
        self.computing += time.perf_counter() - begun

    def show(self, name: str, frames: int) -> None:
        """How far a video is, in a line of the terminal that the next one takes the place of."""
        now = time.monotonic()
        if sys.stderr.isatty() and now - self._shown > _EVERY:
            self._shown = now
            print(f"\r{name}: {frames:,} frames", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """End that line."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = 0.0

    def __str__(self) -> str:
        before = f" ({self.before:,} were finished before)" if self.before else ""
        if not self.images:
            return f"nothing to segment{before}"
        rate, each = self.images / max(self.seconds, 1e-9), 1000 * self.computing / self._measured
        images = f"{self.images:,} image{'s' * (self.images > 1)}"
        return f"{images}{before}, {rate:.1f} a second; {each:.1f} ms each in the segmenter"
