"""Imitations of IDD20K, WildDash 2, MUAD and DeLiVER: their folders, names and encodings, a few invented streets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gkd_lightning.data.benchmarks.adverse import DELIVER_TRAIN_IDS, MUAD_SPLITS, WEATHERS
from gkd_lightning.data.benchmarks.idd import IDD_CLASSES, IDD_TRAIN_IDS
from gkd_lightning.data.fakes.scenes import Streets, save, stored
from gkd_lightning.data.labels import TRAIN_IDS
from gkd_lightning.data.types import CITYSCAPES_19, Label

Size = tuple[int, int]


def idd(root: Path, images: int, size: Size) -> None:
    """Part 1 with the maps that the authors' tool adds, part 2 as downloaded: with polygons alone, images in JPEG."""
    for part, folder, suffix in ((1, "IDD_Segmentation", ".png"), (2, "idd20kII", ".jpg")):
        for split in ("train", "val"):
            streets = Streets("wild", seed=40 + 2 * part + (split == "val"), size=size)
            for number in range(images):
                name = f"{split}/{200 + number % 2}/{number:06d}" if part == 1 else f"{split}/31/frame{number:04d}"
                scene = streets.draw()
                save(root / folder / f"leftImg8bit/{name}_leftImg8bit{suffix}", scene.image)
                labels = root / folder / f"gtFine/{name}_gtFine"
                ids = stored(scene.label, IDD_TRAIN_IDS, void=IDD_CLASSES.index("unlabeled"))
                labels.parent.mkdir(parents=True, exist_ok=True)
                polygons = {"imgHeight": size[1], "imgWidth": size[0], "objects": list(_polygons(ids))}
                labels.with_name(f"{labels.name}_polygons.json").write_text(json.dumps(polygons), encoding="utf-8")
                if part == 1:
                    save(labels.with_name(f"{labels.name}_labelcsTrainIds.png"), scene.label)


def _polygons(ids: Label) -> Iterator[dict[str, Any]]:
    """Boxes, of which every one is the longest run of one class in its rows."""
    begun: dict[tuple[int, int, int], int] = {}
    for row in range(len(ids) + 1):
        runs: set[tuple[int, int, int]] = set()
        if row < len(ids):
            edges = np.flatnonzero(np.diff(ids[row])) + 1
            starts, ends = [0, *edges.tolist()], [*edges.tolist(), ids.shape[1]]
            runs = {(start, end - 1, int(ids[row, start])) for start, end in zip(starts, ends, strict=True)}
        for left, right, class_id in begun.keys() - runs:
            top, bottom = begun.pop((left, right, class_id)), row - 1
            corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
            yield {"label": IDD_CLASSES[class_id], "polygon": corners, "deleted": 0}
        for run in runs - begun.keys():
            begun[run] = row


def wilddash2(root: Path, images: int, size: Size) -> None:
    """JPEG images, pictures of segments, and one JSON for all; every class of an image is one segment."""
    streets = Streets("wild", seed=46, size=size)
    categories = [
        {"id": label_id, "name": CITYSCAPES_19.names[train_id], "isthing": int(train_id > 10), "supercategory": "any"}
        for label_id, train_id in sorted(TRAIN_IDS.items())
    ]
    categories += [{"id": 0, "name": "unlabeled", "isthing": 0, "supercategory": "void"}]
    plain: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
    label_ids = {train_id: label_id for label_id, train_id in TRAIN_IDS.items()}
    for number in range(images):
        name, scene = f"wd{number:04d}", streets.draw()
        save(root / f"images/{name}.jpg", scene.image)
        colours = np.zeros((*scene.label.shape, 3), np.uint8)
        segments = []
        for train_id in np.unique(scene.label[scene.label != 255]).tolist():
            colour = (train_id + 1, number % 256, 1)
            colours[scene.label == train_id] = colour
            segment_id = colour[0] + 256 * colour[1] + 65536 * colour[2]
            segments.append({"id": segment_id, "category_id": label_ids[train_id], "iscrowd": 0})
        save(root / f"panoptic/{name}.png", colours)
        image = {"id": number, "file_name": f"{name}.jpg", "width": size[0], "height": size[1]}
        plain["images"].append(image)
        plain["annotations"].append({"image_id": number, "file_name": f"{name}.png", "segments_info": segments})
    (root / "panoptic.json").write_text(json.dumps(plain), encoding="utf-8")


def muad(root: Path, images: int, size: Size) -> None:
    """A folder a split; train ids, and 21 for what has none."""
    for seed, split in enumerate(MUAD_SPLITS):
        streets = Streets("fog" if "adv" in split else "game", seed=50 + seed, size=size)
        for number in range(images):
            scene = streets.draw()
            save(root / split / f"leftImg8bit/{number:06d}_leftImg8bit.png", scene.image)
            label = np.where(scene.label == 255, np.uint8(21), scene.label)
            save(root / split / f"leftLabel/{number:06d}_leftLabel.png", label)


def deliver(root: Path, images: int, size: Size) -> None:
    """Folders for weathers, of which the images of each split lie in one after the other; tags in the red channel."""
    styles = {"cloud": "day", "fog": "fog", "night": "night", "rain": "rain", "sun": "game"}
    for seed, split in enumerate(("train", "val", "test")):
        streets = {weather: Streets(styles[weather], seed=60 + seed, size=size) for weather in WEATHERS}
        for number in range(images):
            weather = WEATHERS[number % len(WEATHERS)]
            name = f"{weather}/{split}/MAP_{1 + seed}_point{102 + number}/{45050 + number:06d}"
            scene = streets[weather].draw()
            tags = np.zeros((*scene.label.shape, 3), np.uint8)
            tags[..., 0] = stored(scene.label, DELIVER_TRAIN_IDS, void=23)  # what it lacks is drawn as two-wheelers
            save(root / f"img/{name}_rgb_front.png", scene.image)
            save(root / f"semantic/{name}_semantic_front.png", tags)
