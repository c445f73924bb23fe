"""`gkd report RUN…`: tables and pictures again from `results.json`."""

from __future__ import annotations

from pathlib import Path

from gkd_lightning.cli.options import Options


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd report --help`."""
    options = Options(verb, "Write report.html and results.csv from one or several results.json.")
    options.add_argument("runs", nargs="+", type=Path, help="run folders, or results.json files")
    options.add_argument("--out", type=Path, help="folder of the report (default: the first run's)")
    options.add_argument("--title", help="headline (default: the first run's)")
    found = options.read(arguments)
    from gkd_lightning.evaluate import Results, write_report
    from gkd_lightning.evaluate.results import merge

    paths = [path / "results.json" if path.is_dir() else path for path in found.runs]
    results = merge([Results.load(path) for path in paths], found.title)
    directory = found.out or paths[0].parent
    results.save_csv(directory / "results.csv")
    print(write_report(results, directory))
    return 0
