"""`gkd table RUN…`: methods side by side, over seeds and over images, from `results.json`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gkd_lightning.cli.options import Options
from gkd_lightning.errors import UserError

if TYPE_CHECKING:
    from gkd_lightning.evaluate import Collection


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd table --help`."""
    options = Options(verb, "Compare methods: means and deviations over seeds, differences with intervals over images.")
    options.add_argument("runs", nargs="+", type=Path, help="run folders, or results.json files; their seeds join")
    options.add_argument(
        "--against", metavar="METHOD", help="what the others are compared with (default: the run's own method)"
    )
    options.add_argument("--methods", help="only these rows, in this order, such as gkd,mse")
    options.add_argument(
        "--format", choices=["markdown", "csv", "json", "latex"], default="markdown", help="default: markdown"
    )
    options.add_argument(
        "--measure", choices=["mIoU", "PQ"], default="mIoU", help="PQ of runs that found segments (default: mIoU)"
    )
    options.add_argument("--out", type=Path, metavar="FILE", help="write here (default: print)")
    options.add_argument("--resamples", type=int, default=2000, metavar="N", help="draws of the images (default: 2000)")
    options.add_argument(
        "--confidence", type=float, default=95, metavar="PERCENT", help="of the intervals (default: 95)"
    )
    found = options.read(arguments)
    _check_numbers(found.resamples, found.confidence)
    if found.out is not None and found.out.is_dir():
        raise UserError(f"--out {found.out}: a folder, name a file")
    if found.out is not None and found.out.resolve() in _read(found.runs):
        raise UserError(f"--out {found.out}: the table is made from this file; name another")
    from gkd_lightning.evaluate import collect, comparison_table
    from gkd_lightning.files import atomic_write
    from gkd_lightning.report import FORMATS

    collection, against = _chosen(collect(found.runs), found.methods, found.against)
    if found.measure == "PQ" and not any(score.panoptic for run in collection.results.runs for score in run.domains):
        raise UserError("--measure PQ: no run was judged by its segments (docs/panoptic.md)")
    table = comparison_table(collection, against, found.resamples, found.confidence, found.measure)
    text = FORMATS[found.format](table)
    if found.out is None:
        print(text, end="")
    else:
        with atomic_write(found.out) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(found.out)
    if found.format == "csv":  # which has no place for a sentence
        print("".join(f"note: {note}\n" for note in table.notes), end="", file=sys.stderr)
    return 0


def _read(runs: Iterable[Path]) -> set[Path]:
    """Files that hold the runs."""
    folders = [run if run.is_dir() else run.parent for run in runs]
    kept = {folder / name for folder in folders for name in ("results.json", "per_image.npz", "gallery.npz")}
    return {path.resolve() for path in (*kept, *runs)}


def _chosen(collection: Collection, methods: str | None, against: str | None) -> tuple[Collection, str]:
    """The wanted rows and the reference among them: the one that is asked for, the highlighted one, or the first."""
    known = collection.methods
    if not known:
        raise UserError("the results hold no run, nothing to compare")
    rows = known if methods is None else [_known("--methods", name, known) for name in methods.split(",")]
    if against is not None:
        reference = _known("--against", against, known)
    else:
        reference = collection.results.highlight if collection.results.highlight in rows else rows[0]
    return collection.only(dict.fromkeys([*rows, reference])), reference


def _known(option: str, name: str, known: list[str]) -> str:
    from gkd_lightning.errors import nearest

    if name not in known:
        raise UserError(f"{option} {name}: no run of this method{nearest(name, known)} (methods: {', '.join(known)})")
    return name


def _check_numbers(resamples: int, confidence: float) -> None:
    if not 50 <= confidence < 100:
        raise UserError(f"--confidence {confidence:g}: give percent from 50 to below 100, such as 95")
    needed = round(200 / (100 - confidence))
    if resamples < needed:
        raise UserError(f"--resamples {resamples}: {confidence:g} % needs {needed} or more, of which one is outside")
