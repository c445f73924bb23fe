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
from gkd_lightning.data.annotations.reading import json_of
from gkd_lightning.data.annotations.shapes import Annotations
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


class Tool(NamedTuple):
    """How a labelling tool writes."""

    title: str
    by_area: bool
    """Smaller shapes lie on larger ones, as the tool has no order of drawing."""
    whole: Callable[[str, Any], Annotations] | None = None
    """Reads one file of all images: path and what it holds."""


TOOLS = {
    "coco": Tool("COCO instances", by_area=True, whole=read_coco),
}


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
    names = list_images(path, label_suffix, suffixes=SUFFIXES)
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
    states = [archives.file_state(file) for file in files]
    size = sum(state.size for state in states)
    key = hashlib.sha256(repr((_READERS, source.tool, root, source.names, states)).encode("utf-8", "surrogateescape"))
    return _read(key.hexdigest(), source, size >= _KEPT_FROM)


@functools.lru_cache(maxsize=16)
def _read(key: str, source: Source, keep: bool) -> Annotations:
    kept = cache_folder() / "annotations" / f"{key}.npz"
    if keep and kept.is_file():
        try:
            return Annotations.load(kept)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass  # written by something else, or not to its end: made again
    tool = TOOLS[source.tool]
    assert tool.whole is not None
    found = tool.whole(source.root, json_of(source.root))
    if keep:
        found.save(kept)
    return found


def class_names(annotations: Annotations, unlabelled: int | str) -> list[str]:
    """Names of classes as the files list them, after the one for pixels in no shape if it is another."""
    rest = isinstance(unlabelled, str) and unlabelled not in annotations.names
    return [str(unlabelled)] * rest + list(annotations.names)


def _tool_of_file(path: str) -> str:
    tool = _tool_of_json(json_of(path)) if path.lower().endswith(".json") else None
    if tool is None:
        raise UserError(f"{path}: is of no tool that is known; known are {_known()}")
    return tool


def _tool_of_folder(folder: str, names: Sequence[str]) -> str | None:
    path = Path(folder, names[0])
    return _tool_of_json(json_of(path)) if path.suffix.lower() == ".json" else None


def _tool_of_json(plain: Any) -> str | None:
    if isinstance(plain, dict) and {"images", "annotations", "categories"} <= plain.keys():
        return "coco"
    return None


def _known() -> str:
    return ", ".join(tool.title for tool in TOOLS.values())
