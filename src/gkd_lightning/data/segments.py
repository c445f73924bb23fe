"""Class and instance of every pixel as one map, which is augmented, cut and counted as a label map is.

A code is `class + 256 * instance`: stuff has the codes 0 to 254, things those from 256 on, 255 is no truth. One map
cannot get out of step with itself, and its lowest byte is the label map.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.types import Instances, Label, LabelSpace
from gkd_lightning.errors import UserError

INSTANCE = 256
"""Codes of one instance number."""
MOST = 2**31 // INSTANCE - 1
"""The highest number of an instance."""
Segments = NDArray[np.int32]
"""(H, W) codes."""


def segment_map(label: Label, instances: Instances, space: LabelSpace, where: str = "") -> Segments:
    """The codes of a label map and its instances, int32 (H, W).

    Numbers in classes that are no things count for nothing. A pixel of a thing without an instance, such as one of a
    crowd, has no truth: it is 255.

    Args:
        label: train ids uint8 (H, W).
        instances: int32 (H, W), 0 = none.
        space: what the ids mean; its `things` are the classes that have instances.
        where: name for the message.

    Raises:
        UserError: the two differ in size, or an instance's number is negative or too large.
    """
    if label.shape != instances.shape:
        sizes = " but its instances ".join(f"{each.shape[1]}x{each.shape[0]}" for each in (label, instances))
        raise UserError(f"{where}: the label is {sizes}; they have to be of one size")
    low, high = int(instances.min()), int(instances.max())
    if low < 0 or high > MOST:
        raise UserError(f"{where}: instance {low if low < 0 else high}; numbers are 0 (none) to {MOST}")
    thing = np.isin(label, space.thing_ids)
    codes = np.where(thing & (instances == 0), np.int32(space.ignore), label.astype(np.int32))
    return np.asarray(codes + INSTANCE * np.where(thing, instances, 0), dtype=np.int32)


def has_instances(dataset: Any) -> bool:
    """Whether a data set tells instances apart: it has `instances(index)`, int32 (H, W), beside `label`."""
    return bool(getattr(dataset, "has_instances", False))


def segments_of(dataset: Any, index: int, label: Label) -> Segments:
    """The codes of one image, whose label map is given.

    Raises:
        UserError: see `segment_map`; or what reading the instances raises.
    """
    return segment_map(label, dataset.instances(index), dataset.label_space, dataset.name(index))


def edges(parts: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels (H, W) that differ from the one to the left or above: a line, a pixel wide, where two parts meet."""
    found = np.zeros(parts.shape, dtype=bool)
    found[1:] |= parts[1:] != parts[:-1]
    found[:, 1:] |= parts[:, 1:] != parts[:, :-1]
    return found


class SegmentCounts:
    """How many instances of each thing there are in the images that are added, and how much of things is in none."""

    def __init__(self, space: LabelSpace) -> None:
        self.space = space
        self.instances = dict.fromkeys(space.things, 0)
        self._of_things = self._in_none = 0

    def add(self, label: Label, segments: Segments) -> None:
        """One image's label map and codes, both (H, W)."""
        for code in np.unique(segments[segments >= INSTANCE]):
            self.instances[self.space.names[int(code) % INSTANCE]] += 1
        things = np.isin(label, self.space.thing_ids)
        self._of_things += int(things.sum())
        self._in_none += int((things & (segments < INSTANCE)).sum())

    @property
    def crowd_share(self) -> float:
        """Of the pixels of things those without an instance."""
        return self._in_none / max(1, self._of_things)


def require_instances(name: str, dataset: Any) -> None:
    """Refuse a data set of which no segments can be made.

    Raises:
        UserError: it has no instances, or none of its classes is a thing.
    """
    if not has_instances(dataset):
        raise UserError(
            f"{name}: {type(dataset).__name__} tells no instances apart, which segments: panoptic learns from; give a "
            "data set that does, or segments: semantic"
        )
    if not dataset.label_space.things:
        raise UserError(f"{name}: none of its classes is a thing; name those that are counted in things")
