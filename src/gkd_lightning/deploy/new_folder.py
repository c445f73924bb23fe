"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gkd_lightning.errors import UserError


def require_new(out: str | Path) -> Path:
    """The path of a folder that does not exist yet, or is empty.

    Raises:
        UserError: it is in use.
    """
    target = Path(out)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"--out {out}: holds something already; give a new folder")
    return target


@contextmanager
def new_folder(out: str | Path) -> Iterator[Path]:
    """Give a temporary folder beside `out`; on success it becomes `out`, otherwise nothing is left.

    Raises:
        UserError: `out` is in use.
    """
    target = require_new(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
        folder = Path(temporary) / target.name
        folder.mkdir()
        yield folder
        if target.exists():
            target.rmdir()
        os.replace(folder, target)
