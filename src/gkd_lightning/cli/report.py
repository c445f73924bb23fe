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
    options.add_argument(
        "--before", type=Path, metavar="RUN", help="say what changed since this run: domains, classes, images"
    )
    found = options.read(arguments)
    if found.out is None and len(found.runs) > 1:
        raise UserError("--out: name a folder for the report of several runs, or the first would become all of them")
    from gkd_lightning.evaluate import (
        Collection,
        PerImage,
        Results,
        changes,
        collect,
        load_beside,
        merge,
        merge_per_image,
    )
    from gkd_lightning.report import Gallery, change_text, merge_galleries, write_report

    paths = [path / "results.json" if path.is_dir() else path for path in found.runs]
    results = merge([Results.load(path) for path in paths], found.title)
    pictures = [path.with_name("gallery.npz") for path in paths]
    galleries = [Gallery.load(path) for path in pictures if path.is_file()]
    counts = [part for part in map(load_beside, paths) if part is not None]
    per_image = merge_per_image(counts) if counts else None
    changed = None
    if found.before is not None:
        now = Collection(results, per_image or PerImage())
        earlier = collect([found.before])
        changed = (f"{earlier.results.title} of {earlier.results.created[:10]}", changes(earlier, now))
        print(change_text(changed[1]))
    gallery = merge_galleries(galleries) if galleries else None
    print(write_report(results, found.out or paths[0].parent, gallery, per_image, changed))
    return 0
