"""Many files made by several processes: each whole or not at all, finished ones kept, all written down."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import PIL

from gkd_lightning import __version__
from gkd_lightning.errors import UserError
from gkd_lightning.files import atomic_write, file_sha256, write_json

MANIFEST = "manifest.json"
_SECONDS = 10.0
"""Between two lines about the progress, and between two manifests."""


@dataclass(frozen=True)
class Item:
    """One file to make.

    Attributes:
        target: its path relative to the destination.
        source: the file that it is made of.
        make: writes it to the path it is called with; picklable, so a function of a module or a `partial` of one.
    """

    target: str
    source: Path
    make: Callable[[Path], None]


@dataclass(frozen=True)
class Entry:
    """A finished file: its size, the hash of its bytes, and the file it was made of, relative to the source folder."""

    bytes: int
    sha256: str
    source: str


def _known(manifest: Path, about: Mapping[str, str]) -> dict[str, Entry]:
    """The files that an earlier, finished or interrupted, preparation wrote down, by path."""
    folder = manifest.parent
    if not manifest.is_file():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder}: is not empty and was not prepared by gkd; give a new folder")
        return {}
    try:
        found: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))
        known = {path: Entry(**entry) for path, entry in found["files"].items()}
        other = [key for key, value in about.items() if found[key] != value]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{manifest}: cannot be read as a manifest of gkd; give a new folder") from error
    if other:
        was, wanted = found[other[0]], about[other[0]]
        raise UserError(f"{folder}: was prepared with {other[0]} {was}, not {wanted}; give a new folder")
    return known


def _write(manifest: Path, about: Mapping[str, str], entries: Mapping[str, Entry], complete: bool) -> None:
    versions = {"gkd_lightning": __version__, "opencv": cv2.__version__, "pillow": PIL.__version__}
    files = {path: asdict(entry) for path, entry in sorted(entries.items())}
    write_json(manifest, {**about, "complete": complete, "versions": versions, "files": files})


def carry_out(items: Sequence[Item], source: Path, destination: Path, workers: int, about: Mapping[str, str]) -> int:
    """Make every item that is not there yet; the manifest holds each file's size, SHA-256 and source.

    A file counts as finished if it is not older than its source and, where an earlier manifest knows its hash, has it.

    Args:
        items: what to make.
        source: folder of the items' sources.
        destination: folder of the targets: a new one, or one prepared in the same way before.
        workers: processes; 0 makes everything in this one.
        about: everything that decides the files' contents: data set, kind, source, format.

    Returns:
        How many files were made now.

    Raises:
        UserError: a folder that holds something else; the first item that failed, or a worker that was killed: what
            was made before stays and is kept the next time.
    """
    write = partial(_write, destination / MANIFEST, about)
    known = _known(destination / MANIFEST, about)
    write(known, complete=False)
    entries = dict(known)
    begun = last = time.monotonic()
    made = 0
    print(f"{len(items):,} files, {sum(item.target in known for item in items):,} of them made before", flush=True)
    try:
        for number, (item, entry, new) in enumerate(_finished(items, source, destination, known, workers), start=1):
            entries[item.target] = entry
            made += new
            now = time.monotonic()
            if now - last > _SECONDS:
                last = now
                minutes = (now - begun) / number * (len(items) - number) / 60
                print(f"{number:,} of {len(items):,} files, about {minutes:.0f} minutes left", flush=True)
                write(entries, complete=False)
    except BaseException:
        write(entries, complete=False)
        raise
    write(entries, complete=True)
    return made


def _finished(
    items: Sequence[Item], source: Path, destination: Path, known: Mapping[str, Entry], workers: int
) -> Iterator[tuple[Item, Entry, bool]]:
    if workers == 0:
        for item in items:
            yield item, *_finish(item, source, destination, known.get(item.target))
        return
    # spawn: the parent may hold threads and open files that a fork would copy half-way
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker) as pool:
        try:
            remaining = iter(items)
            running: dict[Future[tuple[Entry, bool]], Item] = {}
            while True:
                for item in islice(remaining, 4 * workers - len(running)):
                    running[pool.submit(_finish, item, source, destination, known.get(item.target))] = item
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running[future], *future.result()
                    del running[future]
        except BrokenProcessPool as error:
            raise UserError("a worker process was killed, perhaps for want of memory; try fewer --workers") from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _finish(item: Item, source: Path, destination: Path, known: Entry | None) -> tuple[Entry, bool]:
    """The item's entry, and whether it had to be made."""
    path = destination / item.target
    new = not _is_finished(path, item.source, known)
    if new:
        with atomic_write(path) as temporary:
            item.make(temporary)
    digest = known.sha256 if known is not None and not new else file_sha256(path)
    return Entry(path.stat().st_size, digest, item.source.relative_to(source).as_posix()), new


def _is_finished(path: Path, source: Path, known: Entry | None) -> bool:
    if not path.is_file() or path.stat().st_mtime_ns < source.stat().st_mtime_ns:
        return False
    return known is None or (path.stat().st_size == known.bytes and file_sha256(path) == known.sha256)


def _begin_worker() -> None:
    """Ctrl-C is the parent's business, which lets the files in work be finished; no worker outlives the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.tracebacklimit = 0
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
