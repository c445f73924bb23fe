"""Looks at every image and label of a data set before a training does, and says what is wrong with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gkd_lightning.data.benchmarks.published import PublishedSegmentation
from gkd_lightning.data.benchmarks.tiles import Tiles
from gkd_lightning.data.conversions import noted_conversions
from gkd_lightning.data.frames import same_frame, turned_alone
from gkd_lightning.data.labelled_folder import LabelledFolder
from gkd_lightning.data.labels import class_counts
from gkd_lightning.data.segments import SegmentCounts, has_instances, segments_of
from gkd_lightning.data.types import ImageDataset, LabelSpace, SegmentationDataset
from gkd_lightning.errors import UserError


@dataclass
class DataCheck:
    """What a check found. Lists name images; `problems` sums them up in one line each and is empty if all is well."""

    images: int = 0
    """Images that could be read (with their label, if there are labels)."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Images of each size, `480x360`, the most frequent first."""
    unreadable: list[str] = field(default_factory=list)
    """Messages about images and labels that could not be used, bad ids included."""
    odd_sized: list[str] = field(default_factory=list)
    """Pairs whose label has other proportions than the image."""
    stretched: list[str] = field(default_factory=list)
    """Pairs whose label has another resolution than the image; training stretches it."""
    without_label: list[str] = field(default_factory=list)
    looked_for: str = ""
    """Of the first image without a label: what it wants, and what is there instead."""
    without_image: list[str] = field(default_factory=list)
    without_truth: list[str] = field(default_factory=list)
    """Labels that are ignored altogether."""
    converted: str = ""
    """What reading changes in images."""
    label_space: LabelSpace | None = None
    pixels: list[int] = field(default_factory=list)
    """Pixels of each class."""
    expected: int = 0
    """Images of the published data set; 0 if nothing is known."""
    ignored: int = 0
    """Pixels without truth."""
    images_with: list[int] = field(default_factory=list)
    """Images in which each class occurs."""
    instances: dict[str, int] = field(default_factory=dict)
    """Instances of each class that is counted; empty for a data set that tells none apart."""
    crowd_share: float = 0.0
    """Of the pixels of things those in no instance."""
    without_instances: list[str] = field(default_factory=list)
    """Messages about instances that could not be used."""

    @property
    def problems(self) -> list[str]:
        """One line for each kind of mistake that would stop a training or spoil an evaluation."""
        kinds = [
            (self.unreadable, "files cannot be used, first"),
            ([f"{name}{self.looked_for}" for name in self.without_label], "images have no label, first"),
            (self.odd_sized, "labels have another shape than their image, first"),
            (self.without_instances if self.has_instances else [], "maps of instances cannot be used, first"),
        ]
        lines = [f"{len(found)} {text} {found[0]}" for found, text in kinds if found]
        return lines if self.images else [*lines, "no usable image is left"]

    @property
    def has_instances(self) -> bool:
        """Whether those of any image could be read."""
        return any(self.instances.values()) or len(self.without_instances) < self.images

    @property
    def notes(self) -> list[str]:
        """What is no mistake but worth knowing."""
        names = () if self.label_space is None else self.label_space.names
        absent = [name for name, pixels in zip(names, self.pixels, strict=True) if pixels == 0]
        lines = [f"{len(absent)} classes never occur: {', '.join(absent)}"] if absent else []
        if self.without_image:
            lines.append(f"{len(self.without_image)} labels have no image, first {self.without_image[0]}")
        if self.stretched:
            lines.append(f"{len(self.stretched)} labels have another resolution, first {self.stretched[0]}")
        if self.expected and self.expected != self.images:
            lines.append(f"the published data set has {self.expected} images, here are {self.images}")
        if self.without_truth:
            lines.append(f"{len(self.without_truth)} labels are ignored altogether, first {self.without_truth[0]}")
        if self.without_instances and not self.has_instances:
            lines.append(f"no instances, which segments: panoptic needs, first {self.without_instances[0]}")
        if self.converted:
            lines.append(self.converted)
        return lines

    def class_rows(self) -> list[tuple[int, str, float, int]]:
        """(train id, name, share of the pixels with truth, images with it) of every class."""
        names = () if self.label_space is None else self.label_space.names
        total = max(1, sum(self.pixels))
        return [(i, name, self.pixels[i] / total, self.images_with[i]) for i, name in enumerate(names)]

    @property
    def ignored_share(self) -> float:
        """Share of all pixels that has no truth."""
        return self.ignored / max(1, self.ignored + sum(self.pixels))

    def summary_rows(self) -> list[tuple[str, str]]:
        """(what, value) for a table."""
        sizes = ", ".join(f"{size} ({count})" for size, count in list(self.sizes.items())[:4])
        more = f" and {len(self.sizes) - 4} more" if len(self.sizes) > 4 else ""
        rows = [("images", str(self.images)), ("sizes", sizes + more)]
        if self.label_space is not None:
            rows += [("classes", str(len(self.label_space))), ("pixels without truth", f"{self.ignored_share:.1%}")]
        if self.instances and self.has_instances:
            counts = ", ".join(f"{name} {count:,}" for name, count in self.instances.items())
            rows.append(("instances", f"{counts}; {self.crowd_share:.1%} of these classes' pixels in none"))
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        plain = (
            "images", "sizes", "problems", "notes", "unreadable", "odd_sized", "stretched", "without_label",
            "without_image", "without_truth", "ignored_share", "instances", "crowd_share", "without_instances",
        )  # fmt: skip
        return {name: getattr(self, name) for name in plain} | {
            "classes": [
                {"id": train_id, "name": name, "share": share, "pixels": self.pixels[train_id], "images": images}
                for train_id, name, share, images in self.class_rows()
            ],
        }


def check_dataset(dataset: ImageDataset) -> tuple[DataCheck, ImageDataset]:
    """Read everything once.

    Returns:
        What was found, and the data set without images that have no label, for pictures of it.

    Raises:
        UserError: there is nothing to read, e.g. a missing folder.
    """
    result = DataCheck()
    result.expected = getattr(dataset, "expected", 0)
    if isinstance(dataset, PublishedSegmentation):
        dataset = dataset.files
    if isinstance(dataset, LabelledFolder | Tiles):
        result.without_label = dataset.pairs.without_label
        result.without_image = dataset.pairs.without_image
        if result.without_label and isinstance(dataset, LabelledFolder):
            result.looked_for = f", which {dataset.looked_for(result.without_label[0])}"
        dataset = dataset.labelled_only()
    labels = dataset if isinstance(dataset, SegmentationDataset) else None
    if labels is not None:
        result.label_space = labels.label_space
    counts = np.zeros(256, dtype=np.int64)
    occurrences = np.zeros(256, dtype=np.int64)
    segments = SegmentCounts(labels.label_space) if labels is not None and has_instances(labels) else None
    sizes: Counter[str] = Counter()
    with noted_conversions() as converted:
        for index in range(len(dataset)):
            try:
                height, width = dataset.image(index).shape[:2]
                label = None if labels is None else labels.label(index)
            except UserError as error:
                result.unreadable.append(str(error))
                continue
            result.images += 1
            sizes[f"{width}x{height}"] += 1
            if label is None:
                continue
            if label.shape != (height, width):
                sized = f"{dataset.name(index)} (image {width}x{height}, label {label.shape[1]}x{label.shape[0]}"
                if same_frame(label.shape, (height, width)):
                    result.stretched.append(f"{sized})")
                else:
                    result.odd_sized.append(f"{sized}{turned_alone(dataset, index, label)})")
            found = class_counts(label)
            counts += found
            occurrences += found > 0
            if found[255] == label.size:
                result.without_truth.append(dataset.name(index))
            if segments is not None:
                try:
                    segments.add(label, segments_of(labels, index, label))
                except UserError as error:
                    result.without_instances.append(str(error))
    result.converted = str(converted)
    result.sizes = dict(sizes.most_common())
    if result.label_space is not None:
        classes = len(result.label_space)
        result.pixels, result.images_with = counts[:classes].tolist(), occurrences[:classes].tolist()
        result.ignored = int(counts[255])
    if segments is not None:
        result.instances, result.crowd_share = segments.instances, segments.crowd_share
    return result, dataset
