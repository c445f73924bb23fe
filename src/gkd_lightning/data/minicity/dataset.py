"""MiniCity as datasets: images and labels rendered on the fly from (seed, style, index)."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.minicity.draws import Draws
from gkd_lightning.data.minicity.layout import street
from gkd_lightning.data.minicity.parts import CAR, PARTS, PERSON
from gkd_lightning.data.minicity.render import render
from gkd_lightning.data.minicity.scene import SIZE, Layout
from gkd_lightning.data.minicity.shapes import shapes
from gkd_lightning.data.minicity.styles import style as style_named
from gkd_lightning.data.types import MINICITY_8, Image, Instances, Label, LabelSpace
from gkd_lightning.ranges import Count, Natural, Ranged, Seed

_GEOMETRY, _PIXELS = 1, 2  # streams: what is drawn for the look cannot change where things are


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


class _Rendered(Ranged):
    """What the street and the proxy sets share: addressing, names and a cache of rendered images."""

    def __init__(self, style: str, domain: str, size: Count, seed: Seed, offset: Natural, cache: bool) -> None:
        self._style, self._domain = style_named(style), domain
        self._size, self._seed, self._offset = size, seed, offset
        self._images = SharedImages(size, (SIZE, SIZE, 3)) if cache else None
        self._labels = SharedImages(size, (SIZE, SIZE)) if cache else None
        self._last: tuple[int, Layout] | None = None

    def __len__(self) -> int:
        return self._size

    def name(self, index: int) -> str:
        """`<domain>-<seed>-<number>`."""
        return f"{self._domain}-{self._seed}-{self._number(index):06d}"

    def image(self, index: int) -> Image:
        """RGB uint8 (96, 96, 3)."""
        return self._remembered(self._images, index, self._render)

    def _label(self, index: int) -> Label:
        return self._remembered(self._labels, index, lambda inner: self._classes(self._layout(inner)))

    def _remembered(
        self, store: SharedImages | None, index: int, make: Callable[[int], NDArray[np.uint8]]
    ) -> NDArray[np.uint8]:
        index = self._number(index) - self._offset
        found = None if store is None else store.get(index)
        if found is not None:
            return found
        made = make(index)
        if store is not None:
            store.put(index, made)
        return made

    def _render(self, index: int) -> Image:
        return render(self._layout(index), self._style, self._draws(_PIXELS, index))

    def _classes(self, layout: Layout) -> Label:
        return layout.label

    def _compose(self, draws: Draws) -> Layout:
        raise NotImplementedError

    def _draws(self, stream: int, index: int) -> Draws:
        return Draws(crc32(self._domain.encode()), stream, self._seed, self._offset + index)

    def _layout(self, index: int) -> Layout:
        if self._last is None or self._last[0] != index:
            self._last = index, self._compose(self._draws(_GEOMETRY, index))
        return self._last[1]

    def _number(self, index: int) -> int:
        if not -self._size <= index < self._size:
            raise IndexError(f"image {index} of {self._size}")
        return self._offset + index % self._size


class MiniCity(_Rendered):
    """A labelled street domain of `size` images.

    Args:
        style: one of `STYLES`: game, day, night, fog, rain, snow, val, wild.
        size: number of images.
        seed: another seed, another city; also another style means other streets.
        offset: number of the first image, so that two splits of one style cannot share a street.
        cache: keep rendered images and labels in memory (36 KB a pair), which the workers of a loader share.
    """

    label_space: LabelSpace = MINICITY_8
    has_instances = True

    def __init__(self, style: str, size: Count, seed: Seed = 0, offset: Natural = 0, cache: bool = True) -> None:
        super().__init__(style, style, size, seed, offset, cache)
        self._instances = SharedImages(size, (SIZE, SIZE)) if cache else None

    def label(self, index: int) -> Label:
        """Train ids uint8 (96, 96); every pixel has one."""
        return self._label(index)

    def instances(self, index: int) -> Instances:
        """Cars and persons int32 (96, 96), numbered from 1 in the order in which they are drawn, from far to near.

        What is hidden altogether has no number; every other one has, if only a pixel of it is seen.
        """
        found = self._remembered(self._instances, index, lambda inner: _numbered(self._layout(inner)))
        return found.astype(np.int32)

    def _compose(self, draws: Draws) -> Layout:
        return street(draws, self._style.traits)


def _numbered(layout: Layout) -> NDArray[np.uint8]:
    """At most 255 of them: a street has a dozen."""
    label = layout.label
    objects = np.where((label == CAR) | (label == PERSON), layout.code // PARTS, 0)
    numbers = np.zeros(layout.instances, np.uint8)
    seen = np.unique(objects[objects > 0])
    numbers[seen] = np.arange(1, len(seen) + 1)
    return np.asarray(numbers[objects], dtype=np.uint8)


class MiniCityShapes(_Rendered):
    """The proxy domain: objects before backgrounds in the colours and textures of `wild`; images only."""

    def __init__(self, size: Count, seed: Seed = 0, offset: Natural = 0, cache: bool = True) -> None:
        super().__init__("wild", "shapes", size, seed, offset, cache)

    def _compose(self, draws: Draws) -> Layout:
        return shapes(draws)


class MiniCityLabelledShapes(MiniCityShapes):
    """The same images with a class map, for the pre-training of the teacher.

    Backgrounds and things that MiniCity has no class for are 255.
    """

    label_space: LabelSpace = MINICITY_8

    def label(self, index: int) -> Label:
        """Train ids uint8 (96, 96), 255 where there is no class."""
        return self._label(index)

    def _classes(self, layout: Layout) -> Label:
        return np.where(layout.code < PARTS, np.uint8(MINICITY_8.ignore), layout.label)
