"""The same two labelled images as every labelling tool writes them."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.data.helpers import save

WIDTH, HEIGHT = 16, 12
ROAD = [[0, 6], [WIDTH, 6], [WIDTH, HEIGHT], [0, HEIGHT]]
CAR = [[4, 4], [10, 4], [10, 8], [4, 8]]
SHAPES = (("road", ROAD), ("car", CAR))
IMAGES = ("a.png", "b.png")

WANTED = np.full((HEIGHT, WIDTH), 255, np.uint8)  # classes road, car
WANTED[6:] = 0
WANTED[4:8, 4:10] = 1


def pictures(root: Path) -> Path:
    """Two images of noise; returns their folder."""
    random = np.random.RandomState(0)
    for name in IMAGES:
        save(root / "images" / name, random.randint(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8))
    return root / "images"


def written(path: Path, plain: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(plain if isinstance(plain, str) else json.dumps(plain), encoding="utf-8")
    return path


def inside(corners: list[list[int]]) -> np.ndarray:
    """Pixels (HEIGHT, WIDTH) of a rectangle."""
    (left, top), _, (right, bottom), _ = corners
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def png(mask: np.ndarray, **options: Any) -> bytes:
    data = BytesIO()
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    picture.save(data, format="PNG", **options)
    return data.getvalue()


def run_lengths(mask: np.ndarray) -> list[int]:
    """Of pixels outside and inside in turns, row by row."""
    lengths, value = [0], False
    for pixel in mask.ravel().tolist():
        if pixel != value:
            lengths.append(0)
            value = pixel
        lengths[-1] += 1
    return lengths


def coco_plain() -> dict[str, Any]:
    shapes = [(image, name, corners) for image in (7, 9) for name, corners in reversed(SHAPES)]
    return {
        "info": {"description": "x"},
        "licenses": [],
        "images": [
            {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}
            for number, name in zip((7, 9), IMAGES, strict=True)
        ],
        "categories": [
            {"id": 4, "name": "road", "supercategory": "ground"},
            {"id": 2, "name": "car", "supercategory": "vehicle"},
        ],
        "annotations": [
            {
                "id": 100 + place, "image_id": image, "category_id": {"road": 4, "car": 2}[name], "iscrowd": 0,
                "segmentation": [[value for corner in corners for value in corner]], "bbox": [0, 0, 1, 1], "area": 1,
            }
            for place, (image, name, corners) in enumerate(shapes)
        ],
    }  # fmt: skip


def coco(root: Path) -> Path:
    return written(root / "instances.json", coco_plain())


def roboflow(root: Path) -> Path:
    """The JSON lies among the images, and lists the project as a category."""
    plain = coco_plain()
    plain["categories"].insert(0, {"id": 0, "name": "streets", "supercategory": "none"})
    for each in plain["categories"][1:]:
        each["supercategory"] = "streets"
    written(root / "images/_annotations.coco.json", plain)
    return root / "images"


def yolo(root: Path) -> Path:
    written(root / "data.yaml", "train: images\nnc: 2\nnames: ['road', 'car']\n")
    lines = [
        f"{place} " + " ".join(f"{x / WIDTH} {y / HEIGHT}" for x, y in corners)
        for place, (_, corners) in enumerate(SHAPES)
    ]
    for name in IMAGES:
        written(root / "labels" / name.replace(".png", ".txt"), "\n".join(lines) + "\n")
    return root / "labels"


def labelme_plain(name: str) -> dict[str, Any]:
    """Corners that the mouse reaches end at the last pixel."""
    shapes = [
        {
            "label": label, "points": [[min(x, WIDTH - 1), min(y, HEIGHT - 1)] for x, y in corners], "group_id": None,
            "shape_type": "polygon", "flags": {},
        }
        for label, corners in SHAPES
    ]  # fmt: skip
    return {
        "version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None,
        "imageHeight": HEIGHT, "imageWidth": WIDTH,
    }  # fmt: skip


def labelme(root: Path) -> Path:
    for name in IMAGES:
        written(root / "images" / name.replace(".png", ".json"), labelme_plain(name))
    return root / "images"


def cvat_text() -> str:
    """Road is a box, car a polygon above it that comes before it in the file."""
    images = "".join(
        f'<image id="{place}" name="{name}" width="{WIDTH}" height="{HEIGHT}">'
        '<polygon label="car" source="manual" occluded="0" points="4.00,4.00;10.00,4.00;10.00,8.00;4.00,8.00" '
        'z_order="1"></polygon>'
        f'<box label="road" source="manual" occluded="0" xtl="0.00" ytl="6.00" xbr="{WIDTH}.00" ybr="{HEIGHT}.00" '
        'z_order="0"></box><tag label="sunny" source="manual"></tag></image>'
        for place, name in enumerate(IMAGES)
    )
    labels = "".join(f"<label><name>{name}</name><attributes></attributes></label>" for name in ("road", "car"))
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n<meta><task><id>1</id><labels>'
        f"{labels}</labels></task></meta>\n{images}</annotations>\n"
    )


def cvat(root: Path) -> Path:
    return written(root / "annotations.xml", cvat_text())


def label_studio_plain() -> list[dict[str, Any]]:
    tasks = []
    for number, name in enumerate(IMAGES, 1):
        results: list[dict[str, Any]] = [
            {
                "id": f"r{place}", "type": "polygonlabels", "from_name": "label", "to_name": "image",
                "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0,
                "value": {
                    "points": [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in corners], "closed": True,
                    "polygonlabels": [label],
                },
            }
            for place, (label, corners) in enumerate(SHAPES)
        ]  # fmt: skip
        results.append({"type": "choices", "value": {"choices": ["good"]}})
        annotations = [{"id": 5, "was_cancelled": False, "result": results}]
        tasks.append({"id": number, "data": {"image": f"/data/upload/1/0a1b2c3d-{name}"}, "annotations": annotations})
    return tasks


def label_studio(root: Path) -> Path:
    return written(root / "project.json", label_studio_plain())


def supervisely_plain() -> dict[str, Any]:
    """Road is a polygon whose hole another polygon fills; car a bitmap."""
    road = [[min(x, WIDTH - 1), min(y, HEIGHT - 1)] for x, y in ROAD]
    hole = [[1, 8], [3, 8], [3, 10], [1, 10]]
    data = base64.b64encode(zlib.compress(png(inside(CAR)[4:8, 4:10]))).decode()
    outer = {"exterior": road, "interior": [hole]}
    return {
        "description": "", "tags": [], "size": {"height": HEIGHT, "width": WIDTH},
        "objects": [
            {"id": 1, "geometryType": "polygon", "classTitle": "road", "points": outer},
            {"id": 2, "geometryType": "polygon", "classTitle": "road", "points": {"exterior": hole, "interior": []}},
            {"id": 3, "geometryType": "bitmap", "classTitle": "car", "bitmap": {"data": data, "origin": [4, 4]}},
        ],
    }  # fmt: skip


def supervisely(root: Path) -> Path:
    written(root / "ann/meta.json", {"classes": []})
    for name in IMAGES:
        written(root / "ann" / f"{name}.json", supervisely_plain())
    return root / "ann"


def cityscapes(root: Path) -> Path:
    objects: list[dict[str, Any]] = [
        {"label": label, "polygon": [[min(x, WIDTH - 1), min(y, HEIGHT - 1)] for x, y in corners]}
        for label, corners in SHAPES
    ]
    objects.append({"label": "dragon", "deleted": 1, "polygon": [[0, 0], [9, 0], [9, 9]]})
    for name in IMAGES:
        plain = {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": objects}
        written(root / "polygons" / name.replace(".png", ".json"), plain)
    return root / "polygons"


def mapillary(root: Path) -> Path:
    objects = [{"label": label, "polygon": corners} for label, corners in SHAPES]
    for name in IMAGES:
        plain = {"height": HEIGHT, "width": WIDTH, "objects": objects}
        written(root / "polygons" / name.replace(".png", ".json"), plain)
    return root / "polygons"


TOOLS: dict[str, Callable[[Path], Path]] = {
    "coco": coco, "roboflow": roboflow, "yolo": yolo, "labelme": labelme, "cvat": cvat, "label-studio": label_studio,
    "supervisely": supervisely, "cityscapes": cityscapes, "mapillary": mapillary,
}  # fmt: skip
