"""`gkd reproduce FAMILY`: all recipes of a benchmark, then our numbers beside the published ones."""

from __future__ import annotations

from pathlib import Path

from gkd_lightning.cli.options import Options
from gkd_lightning.cli.run import add_tflops
from gkd_lightning.cli.study import Study, execute


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd reproduce --help`."""
    options = Options(
        verb, "Run all recipes of a benchmark; what exists is skipped. Ends with a table beside the paper's."
    )
    options.add_argument(
        "family", help="a folder of shipped recipes: f2l, f2f, ablation, night_fog, wild, cityscapes_c"
    )
    options.add_argument(
        "--row", action="append", default=[], help="only this row, such as deit-s-gtav; may be repeated"
    )
    options.add_argument(
        "--profile", default="full", help="full (default), short (one GPU, a day) or smoke (CPU, minutes)"
    )
    options.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="as in `gkd run`, for all recipes",
    )
    options.add_argument("--seeds", help="such as 0,1,2: the table then holds means and deviations")
    options.add_argument("--out", type=Path, help="folder of stages and results (default: runs/FAMILY[-PROFILE])")
    options.add_argument("--jobs", type=int, default=1, metavar="N", help="run N stages at once")
    options.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    add_tflops(options)
    found = options.read(arguments)
    from gkd_lightning.chain import cost_summary, data_needed, look_at_data, require_data
    from gkd_lightning.chain.judging import write_tables
    from gkd_lightning.recipes import FULL, load_benchmark, load_profile

    profile = load_profile(found.profile)
    parts = load_benchmark(found.family, found.row)
    out = found.out or Path("runs") / (found.family if profile.name == FULL else f"{found.family}-{profile.name}")
    studies = [
        Study(
            str(part.recipe.path), (*profile.settings_for(part.recipe), *found.settings), seeds=found.seeds,
            methods=",".join(part.methods), out=out / part.name, store=out / "stages",
        )
        for part in parts
    ]  # fmt: skip
    if not found.dry_run:
        profile.prepare(out / "data")
    plans = [study.plan() for study in studies]
    data = data_needed(plans)
    for each in data:
        print(each, flush=True)
    if not found.dry_run:
        require_data(data)
    print("\n".join(cost_summary(plans, out, found.tflops)), flush=True)
    for study in studies:
        execute(study, dry_run=found.dry_run, jobs=found.jobs, seek_data=False)  # of all studies at once, above
    if found.dry_run:
        look_at_data(data)
        return 0
    print(f"\n{write_tables(parts, out)}", end="")
    return 0
