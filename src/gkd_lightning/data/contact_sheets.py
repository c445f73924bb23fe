"""One picture of a data set: a few images, their labels laid over them, and what the colours mean."""

from __future__ import annotations

import os
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from gkd_lightning.data.segments import Segments, edges, has_instances, segments_of
from gkd_lightning.data.types import Image, ImageDataset, Label, LabelSpace, SegmentationDataset, evenly
from gkd_lightning.errors import UserError
from gkd_lightning.files import atomic_write

PAPER, INK, MUTED, RULE = (255, 255, 255), (31, 35, 40), (107, 113, 120), (227, 228, 225)
CELL_WIDTH, MARGIN, GAP, COLUMNS = 300, 32, 12, 4
TITLE_SIZE, TEXT_SIZE = 26, 14
LINE = 24
STRENGTH = 0.62
"""Of the label's colour over the image."""


def overlay(image: Image, label: Label | Segments, space: LabelSpace) -> Image:
    """The image (H, W, 3) under its label's colours, with dark lines between classes; ignored pixels are hatched.

    A label of another size is brought to the image's by nearest neighbour. Codes of segments have the colours of their
    classes, with lines between segments.
    """
    height, width = image.shape[:2]
    parts: np.ndarray = label
    if label.shape != (height, width):
        parts = np.asarray(cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST), dtype=label.dtype)
    label = parts.astype(np.uint8)  # of a code the lowest byte
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(space)] = space.palette
    # grey, so that only the label brings colour
    grey = cv2.transform(np.ascontiguousarray(image), np.full((3, 3), 1 / 3, np.float32))
    mixed = cv2.addWeighted(grey, 1 - STRENGTH, np.take(table, label, axis=0), STRENGTH, 0)
    ignored = label == space.ignore
    if ignored.any():
        rows, columns = np.nonzero(ignored)
        stripes = (rows + columns) // max(4, height // 40) % 2
        mixed[ignored] = 0.35 * grey[ignored] + 28 * stripes[:, None]
    edge = edges(parts)
    mixed[edge] = 0.55 * mixed[edge]
    return np.asarray(mixed, dtype=np.uint8)


def contact_sheet(
    dataset: ImageDataset,
    path: str | os.PathLike[str],
    title: str,
    count: int = 8,
    shares: Sequence[float] | None = None,
) -> None:
    """Write a PNG with `count` images spread evenly over the data set, unreadable ones left out.

    Args:
        dataset: with labels, each image is shown twice: as it is and under its label.
        path: of the PNG.
        title: heading.
        count: images.
        shares: of the pixels, one per class, written into the legend.

    Raises:
        UserError: no image can be read.
    """
    labels = dataset if isinstance(dataset, SegmentationDataset) else None
    cells = _cells(dataset, labels, count)
    if not cells:
        raise UserError(f"{title}: none of the images can be read, so there is nothing to draw")
    columns = min(COLUMNS, len(cells))
    width = 2 * MARGIN + columns * CELL_WIDTH + (columns - 1) * GAP
    width = max(width, 2 * MARGIN + 2 * CELL_WIDTH)
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(picture.height for picture, _ in row) + LINE + GAP for row in rows]
    legend = [] if labels is None else _legend(labels.label_space, shares, width)
    top = MARGIN + 3 * LINE
    legend_lines = 1 + max((line for _, _, _, line in legend), default=-1)
    sheet = Pillow.new("RGB", (width, top + sum(heights) + legend_lines * LINE + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN), title, fill=INK, font=text_font(TITLE_SIZE))
    shown = f"{len(cells)} of {len(dataset)} images"
    if labels is not None:
        shown += ", above as they are, below under their labels (hatched: ignored)"
    draw.text((MARGIN, MARGIN + 1.5 * LINE), shown, fill=MUTED, font=text_font(TEXT_SIZE))
    for row, height in zip(rows, heights, strict=True):
        for column, (picture, name) in enumerate(row):
            left = MARGIN + column * (CELL_WIDTH + GAP)
            sheet.paste(picture, (left, top))
            draw.text((left, top + picture.height + 4), _shortened(name), fill=MUTED, font=text_font(TEXT_SIZE))
        top += height
    for text, colour, left, line in legend:
        y = top + line * LINE
        draw.rounded_rectangle((left, y + 1, left + 22, y + 17), radius=3, fill=colour, outline=RULE)
        draw.text((left + 30, y), text, fill=INK, font=text_font(TEXT_SIZE))
    with atomic_write(path) as temporary:
        sheet.save(temporary, format="PNG")


def _cells(dataset: ImageDataset, labels: SegmentationDataset | None, count: int) -> list[tuple[Pillow.Image, str]]:
    cells = []
    for index in evenly(dataset, count):
        try:
            image = dataset.image(index)
            pictures = [_cell(image)]
            if labels is not None:
                below = overlay(np.array(pictures[0]), _parts(labels, index), labels.label_space)
                pictures.append(Pillow.fromarray(below))
        except UserError:
            continue
        column = Pillow.new("RGB", (CELL_WIDTH, sum(picture.height for picture in pictures) + 4), PAPER)
        column.paste(pictures[0], (0, 0))
        if len(pictures) > 1:
            column.paste(pictures[1], (0, pictures[0].height + 4))
        cells.append((column, dataset.name(index)))
    return cells


def _parts(labels: SegmentationDataset, index: int) -> Label | Segments:
    """Segments where the image has them, else classes."""
    label = labels.label(index)
    if not has_instances(labels):
        return label
    try:
        return segments_of(labels, index, label)
    except UserError:
        return label


def _cell(image: Image) -> Pillow.Image:
    """Scaled to the cell's width; tall images to a square instead. Small images keep hard pixels."""
    height, width = image.shape[:2]
    scale = min(CELL_WIDTH / width, CELL_WIDTH / height) if height > width else CELL_WIDTH / width
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Pillow.fromarray(image).resize(size, Pillow.Resampling.NEAREST if scale > 1.5 else Pillow.Resampling.LANCZOS)


def _legend(
    space: LabelSpace, shares: Sequence[float] | None, width: int
) -> list[tuple[str, tuple[int, int, int], int, int]]:
    """(text, colour, left, line) of every class, wrapped at the sheet's width."""
    entries: list[tuple[str, tuple[int, int, int], int, int]] = []
    left, line = MARGIN, 0
    for index, (name, colour) in enumerate(zip(space.names, space.palette, strict=True)):
        text = name if shares is None else f"{name}  {shares[index]:.1%}"
        step = 30 + int(text_font(TEXT_SIZE).getlength(text)) + 24
        if left > MARGIN and left + step > width - MARGIN:
            left, line = MARGIN, line + 1
        entries.append((text, colour, left, line))
        left += step
    return entries


def _shortened(name: str) -> str:
    """The end of a name that fits below a cell."""
    font = text_font(TEXT_SIZE)
    while font.getlength(name) > CELL_WIDTH and len(name) > 4:
        name = "…" + name[2:]
    return name


def text_font(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own scalable font, the same on every machine."""
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise UserError("Pillow was built without FreeType, so the contact sheet cannot be lettered; reinstall pillow")
    return font
