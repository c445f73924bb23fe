"""What is known of a published data set before a single file of it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Card:
    """Facts about a published data set, from its authors' pages.

    Attributes:
        name: short name, as in ``gkd data fake NAME``; also the default folder below ``$GKD_DATA``.
        title: the authors' own name.
        homepage: where to register and download.
        licence: terms of use in a few words; the homepage has the binding text.
        counts: labelled images of each split as published.
        size: width and height of most images.
        official_size: (width, height) within which the official evaluation fits images before they are segmented; None
            where it has no rule.
        tree: the folders and files that are read, as text.
        other_folders: further names below ``$GKD_DATA`` under which people keep it (those of the official
            repository's configurations).
        notes: what to know, one sentence each.
    """

    name: str
    title: str
    homepage: str
    licence: str
    counts: Mapping[str, int]
    size: tuple[int, int]
    tree: str
    official_size: tuple[int, int] | None = None
    other_folders: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())
