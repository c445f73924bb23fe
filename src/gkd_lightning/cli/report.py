"""`gkd report RUN…`: tables and pictures again from `results.json`."""

from __future__ import annotations

from pathlib import Path

from gkd_lightning.cli.options import Options
from gkd_lightning.errors import UserError


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd report --help`."""
    options = Options(verb, "Write report.html, summary.md and results.csv from one or several results.json.")
    options.add_argument("runs", nargs="+", type=Path, help="run folders, or results.json files")
    options.add_argument(
        "--out", type=Path, help="folder of the report (default: the run's own; of several runs needed)"
    )
    options.add_argument("--title", help="headline (default: the first run's)")
    found = options.read(arguments)
    if found.out is None and len(found.runs) > 1:
        raise UserError("--out: name a folder for the report of several runs, or the first would become all of them")
    from gkd_lightning.evaluate import Results, load_beside, merge, merge_per_image
    from gkd_lightning.report import Gallery, merge_galleries, write_report

    paths = [path / "results.json" if path.is_dir() else path for path in found.runs]
    results = merge([Results.load(path) for path in paths], found.title)
    pictures = [path.with_name("gallery.npz") for path in paths]
    galleries = [Gallery.load(path) for path in pictures if path.is_file()]
    counts = [part for part in map(load_beside, paths) if part is not None]
    report = write_report(
        results,
        found.out or paths[0].parent,
        merge_galleries(galleries) if galleries else None,
        merge_per_image(counts) if counts else None,
    )
    print(report)
    return 0
