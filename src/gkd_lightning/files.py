"""Files that are never half-written, and the configuration files that travel with the package."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gkd_lightning.errors import UserError


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success flush it to disk and rename it over `path`.

    If the block raises (full disk, Ctrl-C), the temporary file is removed and `path` stays as it was.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)  # mkstemp makes private files; artefacts are meant to be shared
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` in UTF-8, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN is refused: JSON has none, use None."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as comma-separated values, one a line; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where what takes long to find out is kept: below `$XDG_CACHE_HOME`, or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gkd-lightning"


def canonical_hash(value: Any) -> str:
    """SHA-256 of a JSON-like value that does not depend on the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def shipped_root() -> Path:
    """The folder that holds `configs/` and `experiments/`: inside an installed wheel, or the checkout."""
    package = Path(__file__).resolve().parent
    for root in (package / "_shipped", package.parents[1]):
        if (root / "configs").is_dir() and (root / "experiments").is_dir():
            return root
    raise UserError(f"{package}: the shipped configs/ and experiments/ folders are missing, reinstall gkd-lightning")


def shipped(relative: str) -> Path:
    """Path of a shipped configuration or recipe such as ``experiments/minicity/demo.yaml``."""
    path = shipped_root() / relative
    if not path.exists():
        raise UserError(f"{relative}: no such file among the shipped configurations, see `gkd list recipes`")
    return path


def asset(name: str) -> Path:
    """Path of a data file inside the package, such as ``minicity_teacher.safetensors``."""
    path = Path(__file__).resolve().parent / "assets" / name
    if not path.exists():
        raise UserError(f"asset:{name}: no such file in the package")
    return path
