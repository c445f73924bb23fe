"""A folder of labelled images, and what of it trains and judges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gkd_lightning.errors import UserError
from gkd_lightning.recipes.start.pairing import Pairing

_HELD_OUT = 0.15
"""Share of the labelled images that judges, if no part of them is named for it."""


class Found(NamedTuple):
    """A folder of labelled images."""

    images: str
    labels: str
    pairing: Pairing
    names: list[str]
    """Of the images that have a label, without the suffix, in order."""
    list_file: str | None = None
    """Which of them are meant, a file beside the recipe."""
    annotated: Mapping[str, Any] | None = None
    """Arguments of `AnnotatedImages` if a labelling tool wrote the labels; names have their suffix then. Else None."""


def split(found: Found) -> tuple[Found, Found]:
    """Those that train and those that judge: the last part of the names in order, since neighbours are often alike.

    Raises:
        UserError: fewer than two images.
    """
    count = len(found.names)
    if count < 2:
        raise UserError(f"{found.images}: {count} labelled image; at least two are needed, one of them to judge")
    held = max(1, round(count * _HELD_OUT))
    return (
        found._replace(names=found.names[:-held], list_file="train.txt"),
        found._replace(names=found.names[-held:], list_file="held_out.txt"),
    )
