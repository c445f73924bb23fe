"""Pixels of objects that no class is for: no truth for a confusion matrix, and a question to confidence."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.data.types import Label
from gkd_lightning.errors import UserError

UnknownPixels = NDArray[np.bool_]
"""(H, W)."""


def has_unknown(dataset: Any) -> bool:
    """Whether a data set says which pixels are of unknown objects: it has `unknown(index)`, bool (H, W)."""
    return bool(getattr(dataset, "has_unknown", False))


def unknown_of(dataset: Any, index: int, label: Label) -> UnknownPixels:
    """Those of one image, whose label map is given.

    Raises:
        UserError: the two differ in size, a pixel has a class too, or what reading them raises.
    """
    unknown = np.asarray(dataset.unknown(index), dtype=bool)
    if unknown.shape != label.shape:
        sizes = " but its unknown objects ".join(f"{each.shape[1]}x{each.shape[0]}" for each in (label, unknown))
        raise UserError(f"{dataset.name(index)}: the label is {sizes}; they have to be of one size")
    if (unknown & (label != dataset.label_space.ignore)).any():
        raise UserError(
            f"{dataset.name(index)}: pixels of unknown objects have a class as well; ignore them in the label"
        )
    return unknown
