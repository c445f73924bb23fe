"""What an instrument leaves: a picture, the numbers behind it as CSV, and what was measured as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gkd_lightning.files import atomic_write, csv_text, write_json, write_text


def write_findings(
    out: str | Path, name: str, picture: bytes, rows: Sequence[Mapping[str, Any]], record: Mapping[str, Any]
) -> list[Path]:
    """Write ``NAME.png``; ``NAME.csv``, whose columns are the first row's keys; and ``NAME.json``, of plain values.

    Returns:
        Paths of the files; the folder `out` is made.
    """
    paths = [Path(out) / f"{name}.{suffix}" for suffix in ("png", "csv", "json")]
    with atomic_write(paths[0]) as temporary:
        temporary.write_bytes(picture)
    write_text(paths[1], csv_text([rows[0], *(row.values() for row in rows)]))
    write_json(paths[2], dict(record))
    return paths
