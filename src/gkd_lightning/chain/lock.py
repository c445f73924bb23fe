"""Two chains never run the same stage at once."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from gkd_lightning.errors import UserError

LOCK = "lock"
HELD = "GKD_LOCKED"
"""Environment variable with the folder that a chain holds for the processes which it starts."""
_TAKEN = (errno.EACCES, errno.EAGAIN)
_HERE: set[Path] = set()
"""Folders that this process holds: POSIX would give it a second lock, and lose both with the first that ends."""


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the folder for this process, unless it or the chain that has started it does so already.

    The lock belongs to the process and ends with it, even after a kill, so there is none to clean up; data
    loading workers do not inherit it. A file system that has no locks gives none, which is said.

    Raises:
        UserError: if another process holds it; the message names that process.
    """
    place = directory.resolve()
    if place in _HERE or os.environ.get(HELD) == str(place):
        yield
        return
    fresh, before = not directory.exists(), _files(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK).open("a+", encoding="utf-8") as handle:
        _lock(handle, directory)
        handle.seek(0)
        handle.truncate()
        handle.write(f"process {os.getpid()}")
        handle.flush()
        _HERE.add(place)
        try:
            yield
        finally:
            _HERE.discard(place)
            handle.seek(0)
            handle.truncate()
            if _files(directory) == before:  # what never began leaves nothing
                (directory / LOCK).unlink(missing_ok=True)
                if fresh:
                    shutil.rmtree(directory, ignore_errors=True)


def _files(directory: Path) -> set[Path]:
    return {path for path in directory.rglob("*") if path.is_file() and path.name != LOCK}


def _lock(handle: IO[str], directory: Path) -> None:
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            raise UserError(f"{directory}: {owner} is running this stage, wait for it or stop it") from None
        print(f"{directory}: this file system has no locks ({error.strerror}): start nothing else in it", flush=True)
