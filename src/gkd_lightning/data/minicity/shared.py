"""Rendered images that a process and the workers it forks draw once between them."""

from __future__ import annotations

import mmap
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray


class SharedImages:
    """Room for `count` arrays uint8 of one shape, in memory that forked processes share; pages are taken when written.

    Whoever draws an image leaves it here. All would leave the same bits, so nobody waits for anybody: a checksum,
    written last, tells a whole image from one that is not there or still being written. A process started otherwise
    than by forking has a room of its own.
    """

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self._count, self._shape = count, shape
        self._images = _room(count * int(np.prod(shape)), np.uint8).reshape(count, *shape)
        self._sums = _room(8 * count, np.uint64)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._count, self._shape)

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """A copy, or None if nobody has left it yet."""
        if not self._sums[index]:
            return None
        image = self._images[index].copy()
        return image if self._sums[index] == _sum(image) else None

    def put(self, index: int, image: NDArray[np.uint8]) -> None:
        """Leave an image for all."""
        self._images[index] = image
        self._sums[index] = _sum(image)


def _room(size: int, dtype: type[np.generic]) -> NDArray[Any]:
    return np.frombuffer(mmap.mmap(-1, size), dtype=dtype)


def _sum(image: NDArray[np.uint8]) -> int:
    return crc32(np.ascontiguousarray(image)) + 1  # 0 stands for nothing
