"""What annotation files say of many images, in a few flat arrays: names, sizes, and shapes without their text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.files import atomic_write

POLYGON, HOLE, DISC, ROWS, COLUMNS = range(5)
"""Kinds of parts: corners x, y, … that add or take away; centre x, y and radius; left, top, width, height and runs of
pixels outside and inside in turns, along rows or along columns."""

_DRAWN = (POLYGON, HOLE, DISC)
"""Kinds of which the values are float32."""


class Damaged(ValueError):
    """A shape that cannot be meant; the message lacks file and record."""


class Part(NamedTuple):
    """A piece of a shape."""

    kind: int
    values: NDArray[Any]
    """float32 or int32, see the kinds."""


class Annotations(NamedTuple):
    """All shapes of all images. N images, S shapes, R parts, V values."""

    tool: str
    """Name in `TOOLS`."""
    files: tuple[str, ...]
    """What was read."""
    names: tuple[str, ...]
    """Of classes, in the tool's order; such as never occur as well."""
    records: tuple[str, ...]
    """Of images: the name that the file gives, or the file itself below the folder."""
    relative: bool
    """Whether shapes are in parts of the image's width and height."""
    sizes: NDArray[np.int32]
    """(N, 2) height and width as the annotation says; 0 where it does not."""
    first_shape: NDArray[np.int64]
    """(N + 1,)"""
    name: NDArray[np.int32]
    """(S,) positions in `names`."""
    level: NDArray[np.int32]
    """(S,) above which others a shape lies."""
    crowd: NDArray[np.bool_]
    """(S,)"""
    first_part: NDArray[np.int64]
    """(S + 1,)"""
    kind: NDArray[np.uint8]
    """(R,)"""
    first_value: NDArray[np.int64]
    """(R + 1,)"""
    values: NDArray[np.int32]
    """(V,) numbers, or the bits of float32."""

    def shapes(self, image: int) -> range:
        """The shapes of an image, in the order of the file."""
        return range(int(self.first_shape[image]), int(self.first_shape[image + 1]))

    def parts(self, shape: int) -> list[Part]:
        """The parts of a shape."""
        found = []
        for place in range(int(self.first_part[shape]), int(self.first_part[shape + 1])):
            kind, values = int(self.kind[place]), self.values[self.first_value[place] : self.first_value[place + 1]]
            found.append(Part(kind, values.view(np.float32) if kind in _DRAWN else values))
        return found

    def save(self, path: Path) -> None:
        """Write all of it, atomically."""
        arrays = {key: value for key, value in self._asdict().items() if isinstance(value, np.ndarray)}
        plain = json.dumps({key: value for key, value in self._asdict().items() if key not in arrays}).encode()
        with atomic_write(path) as temporary, temporary.open("wb") as handle:
            np.savez(handle, allow_pickle=False, plain=np.frombuffer(plain, np.uint8), **arrays)

    @classmethod
    def load(cls, path: Path) -> Annotations:
        """What `save` wrote.

        Raises:
            OSError: a file that is damaged or none of this kind; ValueError, KeyError or EOFError as well.
        """
        with np.load(path, allow_pickle=False) as arrays:
            plain = json.loads(bytes(arrays["plain"]))
            found: dict[str, Any] = {name: arrays[name] for name in cls._fields if name in arrays}
        found |= {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
        return cls(**found)


class Builder:
    """Collects shapes image by image.

    Args:
        names: of classes, if the tool lists them; others are added as they occur.
        relative: see `Annotations`.
    """

    def __init__(self, names: Iterable[str] = (), relative: bool = False) -> None:
        self._names: dict[str, int] = {}
        for name in names:
            self._names.setdefault(name, len(self._names))
        self._relative = relative
        self._records: list[str] = []
        self._sizes: list[tuple[int, int]] = []
        self._shapes: list[int] = []
        self._rows: list[tuple[int, int, bool, int]] = []
        self._kinds = bytearray()
        self._counts: list[int] = []
        self._values = bytearray()

    def image(self, record: str, height: int = 0, width: int = 0) -> None:
        """Begin an image; without a size it is the one of its file.

        Raises:
            Damaged: a size that is none.
        """
        if min(height, width) < 0 or (height == 0) != (width == 0):
            raise Damaged(f"a size of {width}x{height} pixels")
        self._records.append(record)
        self._sizes.append((height, width))
        self._shapes.append(0)

    def shape(self, name: str, parts: Sequence[Part], level: int = 0, crowd: bool = False) -> None:
        """Add a shape to the image.

        Raises:
            Damaged: all of it lies outside the image.
        """
        self._require_inside(parts)
        self._shapes[-1] += 1
        self._rows.append((self._names.setdefault(name, len(self._names)), level, crowd, len(parts)))
        for kind, values in parts:
            self._kinds.append(kind)
            self._counts.append(len(values))
            self._values += values.tobytes()

    def _require_inside(self, parts: Sequence[Part]) -> None:
        height, width = self._sizes[-1]
        kind, values = parts[0]
        if kind != POLYGON or (0 < values[0] < width and 0 < values[1] < height):  # as nearly all do
            return
        corners = [part.values.reshape(-1, 2) for part in parts if part.kind == POLYGON]
        if height == 0 or len(corners) < len(parts):
            return
        low, high = np.min([each.min(0) for each in corners], 0), np.max([each.max(0) for each in corners], 0)
        if low[0] >= width or low[1] >= height or high[0] <= 0 or high[1] <= 0:
            raise Damaged(f"lies outside the image of {width}x{height} pixels")

    def done(self, tool: str, files: Iterable[str]) -> Annotations:
        """All of it."""
        rows = np.array(self._rows, np.int32).reshape(-1, 4)
        return Annotations(
            tool, tuple(files), tuple(self._names), tuple(self._records), self._relative,
            np.array(self._sizes, np.int32).reshape(-1, 2), _starts(self._shapes),
            np.ascontiguousarray(rows[:, 0]), np.ascontiguousarray(rows[:, 1]), rows[:, 2] != 0, _starts(rows[:, 3]),
            np.frombuffer(bytes(self._kinds), np.uint8), _starts(self._counts),
            np.frombuffer(bytes(self._values), np.int32),
        )  # fmt: skip


def _starts(counts: Sequence[int] | NDArray[np.int32]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.asarray(counts, np.int64))]).astype(np.int64)


def polygon(corners: Any, kind: int = POLYGON) -> Part:
    """A polygon from [x, y, …] or [[x, y], …].

    Raises:
        Damaged: fewer than three corners, or what is no number.
    """
    values = _numbers(corners).ravel()
    if len(values) % 2:
        raise Damaged(f"a polygon of {len(values)} numbers, which are no pairs of x and y")
    if len(values) < 6:
        raise Damaged(f"a polygon of {len(values) // 2} corners; three are the least")
    return Part(kind, values)


def box(left: float, top: float, right: float, bottom: float) -> Part:
    """The polygon of a rectangle.

    Raises:
        Damaged: what is no number.
    """
    return polygon([left, top, right, top, right, bottom, left, bottom])


def disc(x: float, y: float, radius: float) -> Part:
    """A circle with what is in it.

    Raises:
        Damaged: what is no number.
    """
    return Part(DISC, _numbers([x, y, radius]))


def runs(counts: Any, left: int, top: int, width: int, height: int, kind: int) -> Part:
    """Runs of pixels outside and inside in turns, the first outside, in a rectangle.

    Args:
        counts: their lengths.
        left: of the rectangle, in pixels; the others as well.
        top: see above.
        width: see above.
        height: see above.
        kind: ROWS or COLUMNS.

    Raises:
        Damaged: they are not as long as the rectangle, or what is no number.
    """
    try:
        lengths = np.array(counts, dtype=np.int64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise Damaged("runs that are no whole numbers") from error
    if min(left, top) < 0 or min(width, height) < 1:
        raise Damaged(f"runs in a rectangle of {width}x{height} pixels at {left}, {top}")
    if (lengths < 0).any() or lengths.sum() != width * height:
        raise Damaged(f"runs of {int(lengths.sum()):,} pixels in {width}x{height} = {width * height:,}")
    return Part(kind, np.concatenate([[left, top, width, height], lengths]).astype(np.int32))


def mask(inside: NDArray[np.bool_], left: int, top: int) -> Part:
    """The runs of a picture (H, W) of what is inside, which lies at `left`, `top`."""
    flat = inside.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    first = [0] if flat[0] else []  # runs begin outside
    lengths = [*first, *(b - a for a, b in pairwise([0, *ends.tolist(), len(flat)]))]
    return runs(lengths, left, top, inside.shape[1], inside.shape[0], ROWS)


def _numbers(values: Any) -> NDArray[np.float32]:
    try:
        found = np.array(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise Damaged("corners that are no numbers") from error
    if not np.isfinite(found).all():
        raise Damaged("corners that are no finite numbers")
    return found
