"""A published data set as its authors packed it: several layouts on disk, one kind of sample."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import ClassVar

from gkd_lightning.data.benchmarks.tiles import Tiles
from gkd_lightning.data.folder import FolderSegmentation
from gkd_lightning.data.images import list_images, read_image
from gkd_lightning.data.labelled_folder import Pairs
from gkd_lightning.data.labels import StoredLabel, read_instances, read_stored_label
from gkd_lightning.data.segments import has_instances
from gkd_lightning.data.types import CITYSCAPES_19, Image, Instances, Label, LabelSpace
from gkd_lightning.data.unknown import UnknownPixels, has_unknown
from gkd_lightning.errors import UserError

FAST_SUFFIXES = (".bmp", ".jpg")
"""Of re-encoded images: without loss, and smaller with some."""


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
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """One way in which the files lie on disk and are encoded.

    Attributes:
        title: such as ``published``; for messages.
        images: folder of the images, relative to the root.
        labels: folder of the labels, with the same sub-folders.
        image_suffix: how image names end.
        label_suffix: how label names end.
        class_map: stored id -> train id, or a function that finds it out; None if train ids are stored.
        label_stem: from an image's name without its suffix to its label's; None if they are equal.
        read_image: from a file to RGB uint8 (H, W, 3).
        read_label: from a file to stored ids (H, W) or colours (H, W, 3).
        instance_suffix: how the names of instance maps end, which lie beside the labels; None if there are none.
        read_instances: from such a file to instances int32 (H, W).
        list_file: text file, relative to the root, that names the images that count among others, one PNG a line and
            from the root on (`RGB/a/b.png`); None if all do.
        listed: from a line of another such list to the image's path below `images`, without its suffix; None where it
            does not count.
        part: name of a folder somewhere below `images` and `labels`; what does not lie in one is not of this layout.
        every: of the images in the order of their names this many-th counts, from the first on.
        unknown_ids: stored ids of objects that no class is for.
    """

    title: str
    images: str
    labels: str
    image_suffix: str
    label_suffix: str
    class_map: Mapping[int, int] | Callable[[], Mapping[int, int]] | None = None
    label_stem: Callable[[str], str] | None = None
    read_image: Callable[[Path], Image] = read_image
    read_label: Callable[[Path], StoredLabel] = read_stored_label
    instance_suffix: str | None = None
    read_instances: Callable[[Path], Instances] = read_instances
    list_file: str | None = None
    listed: Callable[[str], str | None] | None = None
    part: str | None = None
    every: int = 1
    unknown_ids: tuple[int, ...] = ()

    def fast_copies(self) -> list[Layout]:
        """The same with images as `gkd data prepare` re-encodes PNGs."""
        if not self.image_suffix.endswith(".png"):
            return []
        stem = self.image_suffix.removesuffix(".png")
        return [replace(self, title=f"{self.title}, fast copy", image_suffix=stem + suffix) for suffix in FAST_SUFFIXES]

    def __str__(self) -> str:
        image = "*" if self.part is None else f"*/{self.part}/*"
        label = image if self.label_stem is None else self.label_stem(image)
        listed = "" if self.list_file is None else f" of {self.list_file}"
        images = PurePosixPath(self.images, image + self.image_suffix)
        return f"{images}{listed} with {PurePosixPath(self.labels, label + self.label_suffix)}"

    def holds(self, name: str) -> bool:
        """Whether a file, by its path below `images` or `labels`, is of this layout."""
        return self.part is None or f"/{self.part}/" in f"/{name}"


class LaidOut(FolderSegmentation):
    """The files of one layout below one root, paired."""

    def __init__(self, root: Path, layout: Layout, space: LabelSpace) -> None:
        class_map = layout.class_map() if callable(layout.class_map) else layout.class_map
        super().__init__(
            images=str(root / layout.images),
            labels=str(root / layout.labels),
            classes=list(space.names),
            palette=[list(colour) for colour in space.palette],
            things=list(space.things),
            class_map=None if class_map is None else dict(class_map),
            image_suffix=layout.image_suffix,
            label_suffix=layout.label_suffix,
            instances=None if layout.instance_suffix is None else str(root / layout.labels),
            instance_suffix=layout.instance_suffix or "",
            list_file=None if layout.list_file is None else str(root / layout.list_file),
            unknown_ids=list(layout.unknown_ids),
        )
        self.layout = layout

    @property
    def has_instances(self) -> bool:
        """Whether the first image has a map of instances: some copies of a data set leave them out."""
        return super().has_instances and len(self) > 0 and self.instances_path(0).is_file()

    def instances(self, index: int) -> Instances:
        """See `FolderSegmentation.instances`."""
        return self.layout.read_instances(self.instances_path(index))

    @cached_property
    def pairs(self) -> Pairs:
        """See `FolderSegmentation.pairs`."""
        found = super().pairs
        alone = [label for label in found.without_image if self.layout.holds(label) and self.layout.every == 1]
        return found._replace(without_image=alone)

    def _found_images(self) -> list[str]:
        return [image for image in super()._found_images() if self.layout.holds(image)][:: self.layout.every]

    def _listed_name(self, line: str) -> str | None:
        if self.layout.listed is not None:
            return self.layout.listed(line)
        return line.removeprefix(f"{self.layout.images}/").removesuffix(".png")  # a fast copy is no PNG

    def _label_stem(self, stem: str) -> str:
        return stem if self.layout.label_stem is None else self.layout.label_stem(stem)

    def _stored_image(self, path: Path) -> Image:
        return self.layout.read_image(path)

    def _stored_label(self, path: Path) -> StoredLabel:
        return self.layout.read_label(path)


class PublishedSegmentation:
    """Base of the published data sets. Nothing is looked at before the first use.

    Args:
        root: the data set's folder; default `$GKD_DATA/NAME`, or the first of the card's other folders there.
        split: one of the card's splits.

    Raises:
        UserError: at once for an unknown split or if neither `root` nor GKD_DATA is given; at the first use if no
            known layout is found below the root, and as `FolderSegmentation`.
    """

    card: ClassVar[Card]
    label_space: LabelSpace = CITYSCAPES_19
    id_map: str = "cityscapes-19"
    """Name of the mapping from stored to train ids, for the record of an evaluation."""
    reduced: bool = False
    """Whether images and labels are read at less than their published size."""

    def __init__(self, root: str | None, split: str) -> None:
        if split not in self.card.counts:
            raise UserError(f"{self.card.title}: no split {split!r}; give one of {', '.join(self.card.counts)}")
        self.root = Path(root) if root is not None else default_folder(self.card)
        self.split = self.split_title = split
        """`split_title`: what is evaluated, in words, for the record."""
        self.expected = self.card.counts[split]
        """Published number of labelled images."""

    def layouts(self) -> Sequence[Layout]:
        """Where this split's files may lie, the preferred layout first."""
        raise NotImplementedError

    @cached_property
    def files(self) -> LaidOut | Tiles:
        """The first layout of which the root holds at least one labelled image.

        Raises:
            UserError: none is found; the message says where was looked and where the data come from.
        """
        found = self._laid_out()
        if found is None:
            raise self._missing([])
        return found

    def _laid_out(self) -> LaidOut | None:
        published = self.layouts()
        for layout in (*published, *(fast for slow in published for fast in slow.fast_copies())):
            if (self.root / layout.images).is_dir() and (self.root / layout.labels).is_dir():
                candidate = LaidOut(self.root, layout, self.label_space)
                if list_images(candidate.images, layout.image_suffix) and candidate.pairs.labelled:
                    return candidate
        return None

    def _missing(self, more: Sequence[str]) -> UserError:
        looked = ", or ".join(dict.fromkeys([*(str(layout) for layout in self.layouts()), *more]))
        return UserError(
            f"{self.root}: no {self.card.title} ({self.split_title}) here; looked for {looked}; get it from "
            f"{self.card.homepage} ({self.card.licence}), or `gkd data fake {self.card.name}` makes a small imitation"
        )

    def __len__(self) -> int:
        return len(self.files)

    def image_path(self, index: int) -> Path:
        """The image's file."""
        return self.files.image_path(index)

    def label_path(self, index: int) -> Path:
        """The label's file."""
        return self.files.label_path(index)

    def image(self, index: int) -> Image:
        """RGB uint8 (H, W, 3)."""
        return self.files.image(index)

    def label(self, index: int) -> Label:
        """Train ids uint8 (H, W), 255 where there is no truth."""
        return self.files.label(index)

    @property
    def has_instances(self) -> bool:
        """Whether the files that were found tell instances apart."""
        return has_instances(self.files)

    def instances_path(self, index: int) -> Path:
        """The file of an image's instances."""
        assert isinstance(self.files, LaidOut)
        return self.files.instances_path(index)

    def instances(self, index: int) -> Instances:
        """Instances int32 (H, W), 0 where there is none."""
        assert isinstance(self.files, LaidOut)
        return self.files.instances(index)

    @property
    def has_unknown(self) -> bool:
        """Whether the files that were found have ids of unknown objects."""
        return has_unknown(self.files)

    def unknown(self, index: int) -> UnknownPixels:
        """Pixels of objects that no class is for, bool (H, W)."""
        assert isinstance(self.files, LaidOut)
        return self.files.unknown(index)

    def name(self, index: int) -> str:
        """Path of the image below its folder, without the suffix."""
        return self.files.name(index)


def default_folder(card: Card) -> Path:
    """`$GKD_DATA/NAME`, or the first of the card's other folders that exists there.

    Raises:
        UserError: GKD_DATA is not set.
    """
    base = os.environ.get("GKD_DATA")
    if not base:
        raise UserError(
            f"GKD_DATA is not set: export it as the folder that holds {card.name}/, or give root ({card.title})"
        )
    folders = [Path(base) / name for name in (card.name, *card.other_folders)]
    return next((folder for folder in folders if folder.is_dir()), folders[0])
