"""YOLO's segmentation: a text file an image, a shape a line: number of its class, then x y … in parts of the image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from gkd_lightning.data import archives
from gkd_lightning.data.annotations.reading import record_of, text_of, whole
from gkd_lightning.data.annotations.shapes import Builder, Damaged, polygon
from gkd_lightning.errors import UserError

NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml", "classes.txt", "obj.names")
"""Files that name the classes, beside the labels or up to three folders above."""
_ABOVE = 3
_OUTSIDE = 0.01
"""How far beyond the image a corner may lie, as tools round."""


def class_names_of(folder: str) -> tuple[str, dict[int, str]]:
    """The file that names the classes, and the name of each number.

    Raises:
        UserError: there is none, two beside each other disagree, or one is damaged.
    """
    place = Path(folder)
    for above in (place, *list(place.parents)[:_ABOVE]):
        found = {path: _names(path) for path in (os.path.join(above, name) for name in NAMES) if archives.is_file(path)}
        known = {path: names for path, names in found.items() if names}
        if not known:
            continue
        (first, names), *others = known.items()
        for other, theirs in others:
            if theirs != names:
                raise UserError(f"{first} and {other} name the classes differently; keep the one that is meant")
        return first, names
    raise UserError(
        f"{folder}: numbers of classes have no names; put {NAMES[0]} or {NAMES[4]} beside the labels or up to {_ABOVE} "
        "folders above"
    )


def _names(path: str) -> dict[int, str]:
    text = text_of(path)
    if not path.endswith((".yaml", ".yml")):
        return {place: line.strip() for place, line in enumerate(text.splitlines()) if line.strip()}
    try:
        plain = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: is no YAML ({' '.join(str(error).split())})") from error
    found: Any = plain.get("names") if isinstance(plain, dict) else None
    with record_of(path, "names"):
        if found is None:
            return {}
        pairs = found.items() if isinstance(found, dict) else enumerate(found)
        return {whole(number, "class"): str(name) for number, name in pairs}


def read_yolo(builder: Builder, path: str, record: str, names: dict[int, str]) -> None:
    """One image.

    Raises:
        UserError: names the line that is damaged.
    """
    builder.image(record)
    for number, line in enumerate(text_of(path).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        with record_of(path, f"line {number}"):
            place = whole(words[0], "class")
            if place not in names:
                raise Damaged(f"class {place}, which has no name; {len(names)} are named")
            if len(words) == 5:
                raise Damaged("a box (class and four numbers), no polygon; export segmentation")
            part = polygon([float(word) for word in words[1:]])
            if part.values.min() < -_OUTSIDE or part.values.max() > 1 + _OUTSIDE:
                raise Damaged("corners beyond 0 to 1, which are in parts of the image's width and height")
            builder.shape(names[place], [part])
