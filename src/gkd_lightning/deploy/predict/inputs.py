"""What `gkd predict --images` is given: images, videos, streams, each with the name that its outputs get."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from gkd_lightning.data import IMAGE_SUFFIXES, is_folder, list_images
from gkd_lightning.errors import UserError

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv",
    ".gif",
)  # fmt: skip
LIST_SUFFIX = ".txt"
STANDARD_INPUT = "-"
_KINDS = (
    f"an image ({' '.join(IMAGE_SUFFIXES)}), a video ({' '.join(VIDEO_SUFFIXES)}) or a list of them ({LIST_SUFFIX})"
)


@dataclass(frozen=True)
class Input:
    """One thing to segment.

    Attributes:
        kind: `stream` is a camera, or an address; it may never end.
        source: path or address, as it is opened.
        name: of its outputs below their folders, with forward slashes and without an ending.
    """

    kind: Literal["image", "video", "stream"]
    source: str = field(repr=False)  # an address may hold a password
    name: str

    @property
    def shown(self) -> str:
        """The source as messages have it: without user, password and what follows a question mark."""
        if "://" not in self.source:
            return self.source
        parts = urlsplit(self.source)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def find_inputs(given: Sequence[str], out: str | os.PathLike[str]) -> list[Input]:
    """Everything that is named, once each, in the order in which it was named; folders and globs in that of names.

    Each of `given` is, by the first of these that fits:

    * ``-``: standard input, a path a line;
    * with ``://`` in it, or a device such as ``/dev/video0``: a stream, which is segmented alone;
    * a folder: the images and videos below it;
    * a file: an image or a video by its ending, or a list (`.txt`) of paths, a line each, relative to its folder;
    * with ``*``, ``?`` or ``[`` in it: a glob, ``**`` for any depth; of what fits, images and videos are taken.

    The name of an output is the path of its input below the deepest folder that holds all of them.

    Args:
        given: as typed.
        out: where outputs go.

    Raises:
        UserError: nothing there, a file of another kind, two inputs whose outputs would have one name, inputs that
            lie among the outputs, or a stream beside others.
    """
    streams = [text for text in given if "://" in text or Path(text).is_char_device()]
    if streams:
        if len(given) > 1:
            raise UserError("--images: a stream is segmented alone; name nothing else beside it")
        return [Input("stream", streams[0], _stream_name(streams[0]))]
    roots, paths = [], []
    for text in given:
        for root, path in _named(text, out):
            roots.append(os.path.abspath(root))
            paths.append(path)
    if not paths:
        raise UserError("--images: names nothing; give a folder, files, a glob or a list")
    common = Path(os.path.commonpath(roots))
    inside = Path(out).resolve()
    found: dict[str, Input] = {}
    for path in paths:
        absolute = os.path.abspath(path)
        if Path(absolute).resolve().is_relative_to(inside):
            raise UserError(f"--out {out}: holds {path}, where predictions would be taken for images, or replace them")
        name = Path(absolute).relative_to(common).with_suffix("").as_posix()
        found.setdefault(absolute, Input("image" if _is_image(path) else "video", path, name))
    _require_names(list(found.values()))
    return list(found.values())


def _named(text: str, out: str | os.PathLike[str]) -> Iterator[tuple[str, str]]:
    """Folder that names begin at, and path, of every file that one argument means."""
    path = Path(text)
    if text == STANDARD_INPUT:
        lines = [os.fsdecode(line) for line in sys.stdin.buffer.read().splitlines()]
        yield from _listed(lines, Path(), "standard input")
    elif path.is_dir():
        if Path(out).resolve().is_relative_to(path.resolve()):
            raise UserError(f"--out {out}: lies in {text}, where the next call would take predictions for images")
        names = list_images(text, suffixes=IMAGE_SUFFIXES + VIDEO_SUFFIXES)
        if not names:
            raise UserError(f"{text}: no image and no video in this folder")
        yield from ((text, str(path / name)) for name in names)
    elif is_folder(text):  # an archive, whose images are read where they lie; videos are not
        names = list_images(text)
        if not names:
            raise UserError(f"{text}: no image in this archive")
        yield from ((text, str(path / name)) for name in names)
    elif path.suffix.lower() == LIST_SUFFIX and path.is_file():
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{text}: cannot be read as a list of files: {error}") from error
        yield from _listed(lines, path.parent, text)
    elif path.is_file():
        yield str(path.parent), _checked(text, text)
    elif glob.has_magic(text):
        fitting = [name for name in sorted(glob.glob(text, recursive=True)) if Path(name).is_file() and _known(name)]
        if not fitting:
            raise UserError(f"--images {text}: no image and no video fits this pattern")
        root = str(Path(*takewhile(lambda part: not glob.has_magic(part), path.parts)))
        yield from ((root, name) for name in fitting)
    elif path.exists():
        raise UserError(f"--images {text}: neither a file nor a folder; pipe a list of paths into --images -")
    else:
        raise UserError(f"--images {text}: no such file or folder")


def _listed(lines: Sequence[str], beside: Path, where: str) -> Iterator[tuple[str, str]]:
    entries = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not entries:
        raise UserError(f"{where}: names no image; write one path per line")
    if addresses := [entry for entry in entries if "://" in entry]:
        raise UserError(f"{where}: {addresses[0]}: a stream is segmented alone; give it to --images")
    paths = [str(beside / entry) for entry in entries]
    missing = [path for path in paths if not Path(path).is_file()]
    if missing:
        raise UserError(f"{where}: {len(missing)} of {len(paths)} listed files do not exist, first {missing[0]}")
    yield from ((str(Path(path).parent), _checked(path, where)) for path in paths)


def _is_image(path: str) -> bool:
    return path.lower().endswith(IMAGE_SUFFIXES)


def _known(path: str) -> bool:
    return path.lower().endswith(IMAGE_SUFFIXES + VIDEO_SUFFIXES)


def _checked(path: str, where: str) -> str:
    if not _known(path):
        raise UserError(f"{where if where == path else f'{where}: {path}'}: not {_KINDS}, by its ending")
    return path


def _stream_name(source: str) -> str:
    """Of a recording: the host's or the device's name; the time is added when it begins."""
    host = urlsplit(source).hostname if "://" in source else Path(source).name
    return "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in host or "stream")


def _require_names(inputs: Sequence[Input]) -> None:
    seen: dict[tuple[str, str], str] = {}
    for each in inputs:
        other = seen.setdefault((each.kind, each.name), each.source)
        if other != each.source:
            raise UserError(f"{other} and {each.source}: outputs of both would be called {each.name}; rename one")
