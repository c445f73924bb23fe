"""Which tool wrote the annotations of a file or folder, told by what is in it; reading them once."""

from __future__ import annotations

import functools
import hashlib
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gkd_lightning.data import archives
from gkd_lightning.data.annotations.coco import read_coco
from gkd_lightning.data.annotations.cvat import read_cvat
from gkd_lightning.data.annotations.label_studio import read_label_studio
from gkd_lightning.data.annotations.per_image import read_labelme, read_polygons, read_supervisely, tool_of
from gkd_lightning.data.annotations.reading import json_of, text_of, unwatched
from gkd_lightning.data.annotations.shapes import Annotations, Builder
from gkd_lightning.data.annotations.yolo import NAMES, class_names_of, read_yolo
from gkd_lightning.data.images import list_images
from gkd_lightning.errors import UserError
from gkd_lightning.files import cache_folder

SUFFIXES = (".json", ".txt", ".xml")
"""Of annotation files."""
_KEPT_FROM = 16_000_000
"""Bytes of annotation files from which on their shapes are kept on the disk."""
_READERS = "1"
"""Changes with what the readers make of a file."""
_SHOWN = 3
_HEAD = 1000
"""Letters in which an XML file says what it is."""


class Tool(NamedTuple):
    """How a labelling tool writes."""

    title: str
    by_area: bool
    """Smaller shapes lie on larger ones, as the tool has no order of drawing."""
    whole: Callable[[str, Any], Annotations] | None = None
    """Reads one file of all images: path, and what its JSON holds, if it is one."""
    each: Callable[[Builder, str, str, Any], None] | None = None
    """Reads a file of one image: path, name below the folder, and names of classes by number."""
    to_edge: bool = False
    """Corners are pixels, so that those in the last column or row mean the image's edge."""


TOOLS = {
    "coco": Tool("COCO instances", by_area=True, whole=read_coco),
    "yolo": Tool("YOLO segmentation", by_area=True, each=read_yolo),
    "labelme": Tool("labelme", by_area=False, each=read_labelme, to_edge=True),
    "cvat": Tool("CVAT for images", by_area=False, whole=read_cvat),
    "label-studio": Tool("Label Studio", by_area=False, whole=read_label_studio),
    "supervisely": Tool("Supervisely", by_area=False, each=read_supervisely, to_edge=True),
    "polygons": Tool("polygons of Cityscapes or Mapillary", by_area=False, each=read_polygons, to_edge=True),
}
"""Labelling tools by name."""

_NO_LABELS = (*NAMES, "meta.json", "notes.json", "key_id_map.json", "obj_class_to_machine_color.json")
"""Files that tools put beside annotations."""


class Source(NamedTuple):
    """Files that one tool wrote."""

    tool: str
    root: str
    """The file of all images, or the folder of a file each."""
    names: tuple[str, ...]
    """Below the folder; none for one file."""

    def __str__(self) -> str:
        count = f"{len(self.names)} files" if self.names else "one file"
        return f"{TOOLS[self.tool].title}, {count}"


def sources_in(labels: str | os.PathLike[str], label_suffix: str | None = None) -> list[Source]:
    """The annotations that a path holds: none if it holds no such file, several if it can be read in several ways.

    Args:
        labels: a file, or a folder; both may lie in an archive.
        label_suffix: how the files that are meant end.

    Raises:
        UserError: no such path, a file of no tool that is known, or several files of which each is for all images.
    """
    path = os.fspath(labels)
    if not archives.is_folder(path):
        if not archives.is_file(path):
            raise UserError(f"{path}: no such file or folder of labels")
        return [Source(_tool_of_file(path), path, ())]
    names = [name for name in list_images(path, label_suffix, suffixes=SUFFIXES) if not _is_beside(name)]
    found = []
    for suffix in SUFFIXES:
        ours = [name for name in names if name.lower().endswith(suffix)]
        tool = _tool_of_folder(path, ours) if ours else None
        if tool is None:
            continue
        if TOOLS[tool].whole is None:
            found.append(Source(tool, path, tuple(ours)))
        elif len(ours) > 1:
            shown = ", ".join(ours[:_SHOWN])
            raise UserError(
                f"{path}: {len(ours)} files ({shown}{', …' * (len(ours) > _SHOWN)}), of which each may be for all "
                f"images ({TOOLS[tool].title}); name the one that is meant"
            )
        else:
            found.append(Source(tool, os.path.join(path, ours[0]), ()))
    return found


def source_of(labels: str | os.PathLike[str], label_suffix: str | None = None) -> Source:
    """The annotations that a path holds.

    Raises:
        UserError: none, or several readings; otherwise as `sources_in`.
    """
    found = sources_in(labels, label_suffix)
    if len(found) == 1:
        return found[0]
    path = os.fspath(labels)
    if found:
        told = " or ".join(str(each) for each in found)
        raise UserError(f"{path}: holds {told}; say which by label_suffix, such as .json")
    raise UserError(f"{path}: no annotations of a known tool; known are {_known()}")


def annotations_of(source: Source) -> Annotations:
    """All that the files say; read once by a process, and large ones once by a machine.

    Raises:
        UserError: names file and record that are damaged.
    """
    root = os.path.abspath(source.root)
    files = [os.path.join(root, name) for name in source.names] or [root]
    if source.tool == "yolo":
        files.append(class_names_of(root)[0])
    return _read(*_state(files), source)


def _state(files: Sequence[str]) -> tuple[str, bool]:
    """What changes with any of the files, and whether they are so large that what they say is kept."""
    states = [(file, *archives.file_state(file)) for file in files]
    key = hashlib.sha256(repr((_READERS, states)).encode("utf-8", "surrogateescape")).hexdigest()
    return key, sum(size for _, size, _ in states) >= _KEPT_FROM


@functools.lru_cache(maxsize=16)
def _read(key: str, keep: bool, source: Source) -> Annotations:
    """See `annotations_of`.

    Args:
        key: changes with the files.
        keep: whether what they say is kept on the disk.
        source: what to read.
    """
    tool = TOOLS[source.tool]
    if tool.whole is not None and source.root.lower().endswith(".json"):
        found = _read_json(key, keep, source.root)
        assert isinstance(found, Annotations)
        return found
    kept = _kept(key) if keep else None
    if kept is not None:
        return kept
    with unwatched():
        found = _of_folder(tool, source) if tool.whole is None else tool.whole(source.root, None)
    if keep:
        found.save(_place(key))
    return found


@functools.lru_cache(maxsize=16)
def _read_json(key: str, keep: bool, path: str) -> Annotations | str | None:
    """A JSON file of all images; of any other its tool alone, or None.

    Which tool it was is told by what is in it, so that to tell it is as much work as to read it.
    """
    kept = _kept(key) if keep else None
    if kept is not None:
        return kept
    plain = json_of(path)
    name = _tool_of_json(plain)
    tool = None if name is None else TOOLS[name]
    if tool is None or tool.whole is None:
        return name
    with unwatched():
        found = tool.whole(path, plain)
    if keep:
        found.save(_place(key))
    return found


def _place(key: str) -> Path:
    return cache_folder() / "annotations" / f"{key}.npz"


def _kept(key: str) -> Annotations | None:
    if not _place(key).is_file():
        return None
    try:
        return Annotations.load(_place(key))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # written by something else, or not to its end: made again


def _of_folder(tool: Tool, source: Source) -> Annotations:
    assert tool.each is not None
    listed, names = class_names_of(source.root) if source.tool == "yolo" else (None, {})
    builder = Builder(names.values(), relative=source.tool == "yolo")
    files = [os.path.join(source.root, name) for name in source.names]
    for file, name in zip(files, source.names, strict=True):
        tool.each(builder, file, name, names)
    return builder.done(source.tool, files if listed is None else [listed, *files])


def class_names(annotations: Annotations, unlabelled: int | str) -> list[str]:
    """Names of classes as the files list them, after the one for pixels in no shape if it is another."""
    rest = isinstance(unlabelled, str) and unlabelled not in annotations.names
    return [str(unlabelled)] * rest + list(annotations.names)


def _tool_of_file(path: str) -> str:
    tool = _tool_of(path)
    if tool is not None and TOOLS[tool].whole is None:
        raise UserError(f"{path}: is of one image ({TOOLS[tool].title}); give the folder that holds one for each")
    if tool is None:
        raise UserError(f"{path}: is of no tool that is known; known are {_known()}")
    return tool


def _tool_of_folder(folder: str, names: Sequence[str]) -> str | None:
    """Told by the first file that is not empty, as all have to be of one tool."""
    for name in names:
        path = os.path.join(folder, name)
        if archives.file_state(path).size:
            return _tool_of(path)
    return None


def _tool_of(path: str) -> str | None:
    if path.lower().endswith(".json"):
        found = _read_json(*_state([os.path.abspath(path)]), path)
        return found.tool if isinstance(found, Annotations) else found
    head = text_of(path).lstrip()
    if path.lower().endswith(".xml"):
        return "cvat" if "<annotations" in head[:_HEAD] else None
    words = head.partition("\n")[0].split()
    return "yolo" if len(words) >= 5 and words[0].isdigit() and all(map(_is_number, words)) else None


def _tool_of_json(plain: Any) -> str | None:
    if isinstance(plain, dict) and {"images", "annotations", "categories"} <= plain.keys():
        return "coco"
    if isinstance(plain, list) and plain and all(isinstance(each, dict) for each in plain):
        return "label-studio" if {"data", "annotations"} <= plain[0].keys() else None
    return tool_of(plain)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _is_beside(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last in _NO_LABELS or (last.startswith("README") and last.endswith(".txt"))


def _known() -> str:
    return ", ".join(tool.title for tool in TOOLS.values())
