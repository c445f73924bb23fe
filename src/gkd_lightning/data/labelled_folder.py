"""Images of a folder that have labels, whatever those look like: which image is which, by its name."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

from gkd_lightning.data.images import list_images, read_image, read_list
from gkd_lightning.data.labels import label_space
from gkd_lightning.data.types import Image
from gkd_lightning.errors import UserError


class Pairs(NamedTuple):
    """Images, and the labels that were found for them."""

    labelled: list[tuple[str, str]]
    """Image and label, relative to their folders."""
    without_label: list[str]
    without_image: list[str]


class LabelledFolder:
    """Base of the labelled folders: the images, and those of them that have a label. Nothing is looked at before use.

    Args:
        images: folder of the images; sub-folders are searched.
        labels: where the labels are.
        classes: class names in the order of their train ids, or a preset.
        palette: one [red, green, blue] per class; generated if missing.
        things: names of the classes that are counted; if missing, those of a preset.
        image_suffix: how image names end; if missing, any common image suffix.
        list_file: text file naming the images to use, one per line, relative to `images`, suffix optional.
        skip_unlabelled: leave out images that have no label instead of refusing the folder.

    Raises:
        UserError: classes that make no sense.
    """

    remedies = "add it or set skip_unlabelled"
    """What may be done about an image without a label, for a message."""

    def __init__(
        self,
        images: str,
        labels: str,
        classes: str | list[str],
        palette: list[list[int]] | None,
        things: list[str] | None,
        image_suffix: str | None,
        list_file: str | None,
        skip_unlabelled: bool,
    ) -> None:
        self.images, self.labels = Path(images), Path(labels)
        self.label_space = label_space(classes, palette, things)
        self.image_suffix, self.list_file, self.skip_unlabelled = image_suffix, list_file, skip_unlabelled

    @property
    def pairs(self) -> Pairs:
        """What is there, paired."""
        raise NotImplementedError

    def looked_for(self, image: str) -> str:
        """The label that an image without one wants, and what is there instead, for a message.

        Args:
            image: one of `pairs.without_label`.
        """
        raise NotImplementedError

    def _found_images(self) -> list[str]:
        """All images, or those of the list.

        Raises:
            UserError: there is none, or one that the list names is not there.
        """
        images = list_images(self.images, self.image_suffix)
        if not images:
            ending = f" that ends in {self.image_suffix}" if self.image_suffix else ""
            raise UserError(f"{self.images}: no image{ending} in this folder or below it")
        return images if self.list_file is None else self._listed(self.list_file, images)

    def _stem(self, image: str) -> str:
        return str(Path(image).with_suffix("")) if self.image_suffix is None else image.removesuffix(self.image_suffix)

    def _listed(self, list_file: str, images: list[str]) -> list[str]:
        by_name = {name: image for image in images for name in (self._stem(image), image)}
        wanted = [(line, name) for line in read_list(list_file) if (name := self._listed_name(line)) is not None]
        unknown = [line for line, name in wanted if name not in by_name]
        if unknown:
            raise UserError(
                f"{list_file}: {len(unknown)} listed images are not below {self.images}, first {unknown[0]!r}"
            )
        return [by_name[name] for _, name in wanted]

    def _listed_name(self, line: str) -> str | None:
        """The image that a line of the list means, by its path below the folder; None if it does not count."""
        return line

    @cached_property
    def _samples(self) -> list[tuple[str, str]]:
        pairs = self.pairs
        if pairs.without_label and not self.skip_unlabelled:
            image, missing = pairs.without_label[0], len(pairs.without_label)
            raise UserError(
                f"{self.images / image}: {missing} of {missing + len(pairs.labelled)} images have no label, this one "
                f"{self.looked_for(image)}; {self.remedies}"
            )
        if not pairs.labelled:
            image = pairs.without_label[0]
            raise UserError(f"{self.labels}: no label matches any image; {image} {self.looked_for(image)}")
        names = [self._stem(image) for image, _ in pairs.labelled]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(f"{self.images / twice}: two images share this name; keep one or set image_suffix")
        return pairs.labelled

    def labelled_only(self) -> Self:
        """The same folder without the images that have no label."""
        other = copy(self)
        other.skip_unlabelled = True
        other.__dict__.pop("_samples", None)  # chosen under the other rule
        return other

    def __len__(self) -> int:
        return len(self._samples)

    def image_path(self, index: int) -> Path:
        """The image's file."""
        return self.images / self._samples[index][0]

    def plain_file(self, index: int) -> Path | None:
        """The image's file, if it is read as it is."""
        reads_as_it_is = type(self)._stored_image is LabelledFolder._stored_image
        return self.image_path(index) if reads_as_it_is else None

    def image(self, index: int) -> Image:
        """RGB uint8 (H, W, 3)."""
        return self._stored_image(self.image_path(index))

    def _stored_image(self, path: Path) -> Image:
        return read_image(path)

    def name(self, index: int) -> str:
        """Path of the image below its folder, without the suffix."""
        return self._stem(self._samples[index][0])
