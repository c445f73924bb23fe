"""Files inside tar and zip archives, read where they lie: a path may lead through an archive as through a folder.

``train.tar/n01440764/a.jpg`` is the member ``n01440764/a.jpg`` of the archive ``train.tar``; a tar inside a tar is a
folder, too, as in ImageNet's. An archive is gone through once, its list of members is kept, and a member is one read at
its place, by any number of processes.
"""

from __future__ import annotations

import functools
import hashlib
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.errors import UserError
from gkd_lightning.files import atomic_write, cache_folder, file_sha256

SUFFIXES = (".tar", ".zip")
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
_KEPT_FROM = 10_000
"""Members from which on a list is kept on the disk: reading a million headers takes minutes."""
_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_BLOCK = 512  # of a tar
_LOCAL_HEADER = 30  # of a zip's member, before its name


class State(NamedTuple):
    """What tells whether a file may have changed."""

    size: int
    modified: int
    """Nanoseconds; a member's is its archive's."""


class Members(NamedTuple):
    """The files of an archive, sorted by name; each field but the first is (N,)."""

    names: NDArray[np.bytes_]
    starts: NDArray[np.int64]
    """Where the content starts; of a zip its local header."""
    stored: NDArray[np.int64]
    """Bytes in the archive."""
    sizes: NDArray[np.int64]
    """Bytes of the file."""
    checks: NDArray[np.int64]
    """CRC-32, -1 in a tar, which has none."""
    methods: NDArray[np.int64]
    """A zip's: 0 as it is, 8 deflated."""


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a path ends at an archive, which may not be there."""
    return os.fspath(path).lower().endswith(SUFFIXES) and not os.path.isdir(path)


def parted(path: str | os.PathLike[str]) -> tuple[str, str] | None:
    """The archive that a path leads through and what is meant inside it; None for a path of plain folders."""
    text = os.fspath(path)
    lower, start = text.lower(), 0
    while True:
        ends = [lower.find(f"{suffix}/", start) for suffix in SUFFIXES]
        found = [end for end in ends if end >= 0]
        if not found:
            return None
        start = min(found) + len(SUFFIXES[0])
        if os.path.isfile(text[:start]):
            return text[:start], text[start:].strip("/")


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """A file's bytes, wherever it lies.

    Raises:
        OSError: there is no such file, or not all of it.
        ValueError: a member that is damaged.
        UserError: a damaged archive.
    """
    parts = parted(path)
    if parts is None:
        return Path(path).read_bytes()
    members, place = _found(*parts)
    with open(parts[0], "rb", buffering=0) as archive:
        start, count = int(members.starts[place]), int(members.stored[place])
        if members.checks[place] >= 0:
            header = os.pread(archive.fileno(), _LOCAL_HEADER, start)
            start += _LOCAL_HEADER + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        data = os.pread(archive.fileno(), count, start)
    if len(data) < count:
        raise ValueError("the archive ends inside it")
    if members.methods[place] == _DEFLATED:
        try:
            data = zlib.decompress(data, wbits=-15, bufsize=max(1, int(members.sizes[place])))
        except zlib.error as error:
            raise ValueError(f"damaged inside the archive ({error})") from error
    if members.checks[place] not in (-1, zlib.crc32(data)):
        raise ValueError("damaged inside the archive (its checksum is another)")
    return data


def file_state(path: str | os.PathLike[str]) -> State:
    """Size and time of change of a file, wherever it lies.

    Raises:
        OSError: there is none.
    """
    parts = parted(path)
    if parts is None:
        found = os.stat(path)
        return State(found.st_size, found.st_mtime_ns)
    members, place = _found(*parts)
    return State(int(members.sizes[place]), os.stat(parts[0]).st_mtime_ns)


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, wherever it lies, as 64 hexadecimal digits."""
    if parted(path) is None:
        return file_sha256(path)
    return hashlib.sha256(read_bytes(path)).hexdigest()


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file, wherever."""
    try:
        file_state(path)
    except OSError:
        return False
    return True


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder, an archive, or a folder inside one.

    Raises:
        UserError: a damaged archive.
    """
    text = os.fspath(path).rstrip("/")
    parts = parted(text)
    if parts is None:
        return os.path.isdir(text) or (is_archive(text) and os.path.isfile(text))
    names, below = members_of(parts[0]).names, os.fsencode(parts[1]) + b"/"
    place = int(np.searchsorted(names, np.bytes_(below)))
    return place < len(names) and bytes(names[place]).startswith(below)


def names_in(path: str | os.PathLike[str]) -> list[str] | None:
    """All files of an archive, or below a folder inside one, relative to it and sorted; None for anything else.

    Raises:
        UserError: a damaged archive, one that is compressed as a whole, or a folder that it does not hold.
    """
    text = os.fspath(path).rstrip("/")
    archive, below = parted(text) or (text, "")
    if below == "" and not (is_archive(text) and os.path.isfile(text)):
        if text.lower().endswith(COMPRESSED) and os.path.isfile(text):
            raise UserError(
                f"{text}: is compressed as a whole, so that no file in it can be reached; unpack it to .tar"
            )
        return None
    names = [os.fsdecode(bytes(name)) for name in members_of(archive).names]
    if not below:
        return names
    inside = [name.removeprefix(f"{below}/") for name in names if name.startswith(f"{below}/")]
    if not inside:
        raise UserError(f"{text}: no such folder in {archive}")
    return inside


def _found(archive: str, member: str) -> tuple[Members, int]:
    members, wanted = members_of(archive), os.fsencode(member)
    place = int(np.searchsorted(members.names, np.bytes_(wanted)))
    if place == len(members.names) or bytes(members.names[place]) != wanted:
        raise FileNotFoundError(f"{archive} holds no {member}")
    return members, place


def members_of(archive: str) -> Members:
    """The files of an archive; gone through again when it has changed.

    Raises:
        UserError: it is damaged, cut short, or written in a way that cannot be read at its place.
    """
    found = os.stat(archive)
    return _listed(os.path.abspath(archive), found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _listed(archive: str, size: int, modified: int) -> Members:
    key = hashlib.sha256(f"{archive} {size} {modified}".encode("utf-8", "surrogateescape")).hexdigest()
    kept = cache_folder() / "archives" / f"{key}.npz"
    if kept.is_file():
        try:
            with np.load(kept, allow_pickle=False) as arrays:
                return Members(**{name: arrays[name] for name in Members._fields})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            pass  # written by something else, or not to its end: made again
    try:
        rows = list(_zip_rows(archive) if archive.lower().endswith(".zip") else _tar_rows(archive, size))
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        kind = archive[-3:].lower()
        raise UserError(f"{archive}: no whole {kind} archive ({error}); copy or download it again") from error
    rows = [row for row in rows if row[0]]
    names = np.array([row[0] for row in rows] or [b""], dtype=np.bytes_)[: len(rows)]
    order = np.argsort(names, kind="stable")
    columns = np.array([row[1:] for row in rows], dtype=np.int64).reshape(len(rows), 5)[order]
    members = Members(names[order], *(np.ascontiguousarray(column) for column in columns.T))
    twice = np.flatnonzero(members.names[1:] == members.names[:-1])
    if len(twice):
        name = os.fsdecode(bytes(members.names[twice[0]]))
        raise UserError(f"{archive}: holds {name} twice; which one is meant is anybody's guess")
    if len(rows) >= _KEPT_FROM:
        with atomic_write(kept) as temporary, temporary.open("wb") as handle:
            np.savez(handle, allow_pickle=False, **members._asdict())
    return members


_Row = tuple[bytes, int, int, int, int, int]


def _tar_rows(archive: str, size: int) -> Iterator[_Row]:
    with open(archive, "rb") as handle:
        yield from _tar_in(handle, archive, b"", 0, size)


def _tar_in(handle: Any, archive: str, folder: bytes, start: int, size: int) -> Iterator[_Row]:
    """The files of a tar of `size` bytes that starts at `start` in the archive; `handle` reads it alone."""
    with tarfile.open(fileobj=handle, mode="r:") as tar:
        end = 0
        for member in tar:
            tar.members = []  # type: ignore[attr-defined]  # else the library keeps an object of every one of a million files
            name = folder + _plain(os.fsencode(member.name))
            end = member.offset_data + (member.size if member.isreg() else 0)
            if end > size:
                raise tarfile.ReadError(f"it ends inside {os.fsdecode(name)}")
            if member.issparse():
                raise tarfile.ReadError(f"{os.fsdecode(name)} is stored with holes")
            if member.isreg() and member.name.lower().endswith(".tar"):
                inner = tar.extractfile(member)
                yield from _tar_in(inner, archive, name + b"/", start + member.offset_data, member.size)
            elif member.isreg():
                yield name, start + member.offset_data, member.size, member.size, -1, _STORED
        handle.seek(-(-end // _BLOCK) * _BLOCK)
        if handle.read(_BLOCK) != bytes(_BLOCK):  # the library takes a header that is cut for the end
            raise tarfile.ReadError("it is cut short")


def _zip_rows(archive: str) -> Iterator[_Row]:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            if member.is_dir():
                continue
            if member.flag_bits & 0x1:
                raise zipfile.BadZipFile(f"{member.filename} is encrypted")
            if member.compress_type not in (_STORED, _DEFLATED):
                raise zipfile.BadZipFile(f"{member.filename} is compressed by method {member.compress_type}")
            name = _plain(member.filename.encode("utf-8", "surrogateescape"))
            sizes = member.compress_size, member.file_size
            yield name, member.header_offset, *sizes, member.CRC, member.compress_type


def _plain(name: bytes) -> bytes:
    """Without what means the archive itself; empty for a name that leads out of it."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    return b"" if b".." in parts else b"/".join(parts)
