"""What an instrument leaves: a picture, the numbers behind it as CSV, and what was measured as JSON."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gkd_lightning.files import atomic_write, write_json


def write_findings(
    out: str | Path, name: str, picture: bytes, rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any]
) -> list[Path]:
    """Write ``NAME.png``, ``NAME.csv`` and ``NAME.json``.

    Args:
        out: folder; it is made.
        name: of the three files.
        picture: PNG.
        rows: of the table; the first one's keys are its columns.
        record: what was looked at and how, plain values.

    Returns:
        Paths of the files.
    """
    paths = [Path(out) / f"{name}.{suffix}" for suffix in ("png", "csv", "json")]
    with atomic_write(paths[0]) as temporary:
        temporary.write_bytes(picture)
    with atomic_write(paths[1]) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_json(paths[2], dict(record))
    return paths
