"""What a dataset is, and what its label ids mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) RGB."""
Label = NDArray[np.uint8]
"""(H, W) train ids; `LabelSpace.ignore` where there is no truth."""


Instances = NDArray[np.int32]
"""(H, W) beside a `Label`: 0 = no instance, k = k-th instance. One of another class is another, whatever its number."""


@dataclass(frozen=True)
class LabelSpace:
    """Class names and colours; a class's train id is its position. `ignore` marks pixels without truth.

    `things` are the names of the classes that are counted, as cars; the others are stuff, as sky.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore: int = 255
    things: tuple[str, ...] = field(default=(), compare=False)  # labels mean the same without

    def __post_init__(self) -> None:
        if len(self.names) != len(self.palette):
            raise ValueError(f"{len(self.names)} class names but {len(self.palette)} colours")
        unknown = [name for name in self.things if name not in self.names]
        if unknown:
            raise ValueError(f"things: {unknown[0]!r} is none of the classes {', '.join(self.names)}")

    @property
    def thing_ids(self) -> tuple[int, ...]:
        """Train ids of `things`, ascending."""
        return tuple(index for index, name in enumerate(self.names) if name in self.things)

    def __len__(self) -> int:
        return len(self.names)


@runtime_checkable
class ImageDataset(Protocol):
    """Images without labels. Scanning a folder is left to the first use, so building one is instant.

    A set of files may also have `plain_file(index)`: the file of which `image` gives the pixels as they are, or None.
    """

    def __len__(self) -> int: ...

    def image(self, index: int) -> Image:
        """RGB uint8 (H, W, 3)."""
        ...

    def name(self, index: int) -> str:
        """Short name that is unique in the dataset, for reports and messages."""
        ...


@runtime_checkable
class SegmentationDataset(ImageDataset, Protocol):
    """Images with label maps. `image` never touches the label's file, nor `label` the image's."""

    @property
    def label_space(self) -> LabelSpace:
        """Names and colours of the classes."""
        ...

    def label(self, index: int) -> Label:
        """Train ids uint8 (H, W) at the label's native size."""
        ...


def evenly(dataset: ImageDataset, count: int) -> list[int]:
    """At most `count` indices, from the first image to the last at equal distances."""
    places = np.linspace(0, len(dataset) - 1, min(count, len(dataset)))
    return [int(place) for place in places.round()]


CITYSCAPES_19 = LabelSpace(
    names=(
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
        "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    palette=(
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153),
        (250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60),
        (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
    things=("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)  # fmt: skip

CAMVID_11 = LabelSpace(
    names=(
        "sky", "building", "pole", "road", "sidewalk", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
    ),
    palette=(
        (70, 130, 180), (70, 70, 70), (153, 153, 153), (128, 64, 128), (244, 35, 232), (107, 142, 35),
        (220, 220, 0), (190, 153, 153), (0, 0, 142), (220, 20, 60), (119, 11, 32),
    ),
)  # fmt: skip

MINICITY_8 = LabelSpace(
    names=("sky", "building", "road", "sidewalk", "vegetation", "car", "person", "pole"),
    palette=(
        (70, 130, 180), (70, 70, 70), (128, 64, 128), (244, 35, 232),
        (107, 142, 35), (0, 0, 142), (220, 20, 60), (220, 220, 0),
    ),
    things=("car", "person"),
)  # fmt: skip

ISPRS_6 = LabelSpace(
    names=("impervious surface", "building", "low vegetation", "tree", "car", "clutter"),
    palette=((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0)),
)  # fmt: skip

RESCUE_5 = LabelSpace(
    names=("impervious surface", "building", "vegetation", "car", "clutter"),
    palette=((255, 255, 255), (0, 0, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0)),
)  # fmt: skip

LOVEDA_7 = LabelSpace(
    names=("background", "building", "road", "water", "barren", "forest", "agriculture"),
    palette=(
        (255, 255, 255), (255, 0, 0), (255, 255, 0), (0, 0, 255), (159, 129, 183), (0, 255, 0), (255, 195, 128),
    ),
)  # fmt: skip

OPENEARTHMAP_8 = LabelSpace(
    names=("bareland", "rangeland", "developed space", "road", "tree", "water", "agriculture land", "building"),
    palette=(
        (128, 0, 0), (0, 255, 36), (148, 148, 148), (255, 255, 255), (34, 97, 38), (0, 69, 255), (75, 181, 73),
        (222, 31, 7),
    ),
)  # fmt: skip
