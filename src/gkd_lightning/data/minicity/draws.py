"""Random integers that are the same on every machine and under every NumPy release.

NumPy guarantees the raw stream of a bit generator for ever, but not what `Generator.integers` makes of it, so
MiniCity turns the raw 64-bit words of PCG64 into numbers itself, in integers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
_CHUNK = 256


class Draws:
    """A stream of random integers addressed by a key: the same key gives the same stream."""

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([part & 0xFFFFFFFFFFFFFFFF for part in key]))
        self._ready: list[int] = []

    def words(self, count: int) -> NDArray[np.uint64]:
        """(count,) raw words. They do not come from the chunk that the scalar draws use up."""
        words: NDArray[np.uint64] = self._bits.random_raw(count)
        return words

    def noise(self, *shape: int) -> NDArray[np.uint8]:
        """Uniform bytes of the given shape."""
        count = int(np.prod(shape))
        return self.words(-(-count // 8)).astype("<u8").view(np.uint8)[:count].reshape(shape)

    def within(self, low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.int64]:
        """One integer for each interval [low, high], both ends included; the two arrays have one shape."""
        top = (self.words(low.size) >> np.uint64(40)).astype(np.int64).reshape(low.shape)
        return low + ((top * (high - low + 1)) >> 24)

    def below(self, count: int) -> int:
        """An integer in [0, count)."""
        if not self._ready:
            self._ready = (self._bits.random_raw(_CHUNK) >> np.uint64(32)).tolist()
        return self._ready.pop() * count >> 32

    def between(self, low: int, high: int) -> int:
        """An integer in [low, high]."""
        return low + self.below(high - low + 1)

    def chance(self, percent: int) -> bool:
        """True in `percent` of 100 draws."""
        return self.below(100) < percent

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, each as likely."""
        return choices[self.below(len(choices))]
