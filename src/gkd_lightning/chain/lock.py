"""Two chains never run the same stage at once."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gkd_lightning.errors import UserError


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the folder for this process.

    The lock belongs to the process and ends with it, even after a kill, so there is none to clean up; data
    loading workers do not inherit it.

    Raises:
        UserError: if another process holds it; the message names that process.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("a+", encoding="utf-8") as handle:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            raise UserError(f"{directory}: {owner} is running this stage, wait for it or stop it") from None
        handle.seek(0)
        handle.truncate()
        handle.write(f"process {os.getpid()}")
        handle.flush()
        try:
            yield
        finally:
            handle.seek(0)
            handle.truncate()
