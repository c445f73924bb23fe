"""Whether an image and its label show the same frame."""

from __future__ import annotations

from gkd_lightning.data.conversions import noted_conversions
from gkd_lightning.data.types import Image, ImageDataset, Label, SegmentationDataset
from gkd_lightning.errors import UserError


def same_frame(label: tuple[int, ...], image: tuple[int, ...]) -> bool:
    """Whether a label of another size shows the same frame as its image: equal proportions to one per cent.

    Args:
        label: its shape (H, W).
        image: the image's shape (H, W, ...).
    """
    return abs(label[0] * image[1] - label[1] * image[0]) <= 0.01 * label[0] * image[1]


def image_and_label(dataset: SegmentationDataset, index: int) -> tuple[Image, Label]:
    """Both of one index.

    Raises:
        UserError: they do not show the same frame.
    """
    image, label = dataset.image(index), dataset.label(index)
    if not same_frame(label.shape, image.shape):
        sizes = f"{image.shape[1]}x{image.shape[0]} but its label {label.shape[1]}x{label.shape[0]}"
        cause = turned_alone(dataset, index, label)
        raise UserError(f"{dataset.name(index)}: the image is {sizes}{cause}; `gkd data check` lists all such pairs")
    return image, label


def turned_alone(dataset: ImageDataset, index: int, label: Label) -> str:
    """Why a label shows another frame, for a message: EXIF turns the image alone. Empty if that is not the reason."""
    with noted_conversions() as found:
        height, width, _ = dataset.image(index).shape
    if not found.turned or not same_frame(label.shape, (width, height)):
        return ""
    return ", as EXIF turns the image and not the label: save both upright"
