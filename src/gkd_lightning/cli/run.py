"""`gkd run RECIPE`: stages, evaluation and report from one YAML."""

from __future__ import annotations

from pathlib import Path

from gkd_lightning.cli.options import Options
from gkd_lightning.errors import UserError


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd run --help`."""
    options = Options(verb, "Run a recipe: finished stages are skipped, an interrupted one is resumed.")
    options.add_argument("recipe", help="a YAML file, or the name of a shipped recipe (gkd list recipes)")
    options.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="on top of the recipe; STAGE:key=value for one stage, evaluate:key=value for the evaluation",
    )
    options.add_argument("--seeds", help="such as 0,1,2, instead of the recipe's")
    options.add_argument("--from", dest="start", metavar="STAGE", help="run STAGE (or evaluate) and all after it again")
    options.add_argument("--out", type=Path, help="folder of stages and results (default: runs/<recipe>)")
    options.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    found = options.read(arguments)
    return execute(found.recipe, found.settings, found.seeds, found.start, found.out, found.dry_run)


def execute(
    name: str,
    settings: list[str],
    seeds: str | None = None,
    start: str | None = None,
    out: Path | None = None,
    dry_run: bool = False,
) -> int:
    """Plan a recipe, check all of it, and carry it out unless only the plan is wanted."""
    from gkd_lightning.pipeline.chain import check_plan, describe, run_stages, stages_from
    from gkd_lightning.pipeline.compose import nearest
    from gkd_lightning.pipeline.plan import make_plan
    from gkd_lightning.pipeline.recipe import EVALUATE, load_recipe, parse_setting

    recipe = load_recipe(name)
    places = [*recipe.stage_names, EVALUATE]
    if start is not None and start not in places:
        raise UserError(f"--from {start}: no such stage{nearest(start, places)} (stages: {', '.join(places)})")
    out = out or Path("runs") / recipe.name
    plan = make_plan(recipe, out, [parse_setting(text) for text in settings], _seeds(seeds))
    check_plan(plan)
    again = stages_from(plan, start)
    print(f"{recipe.title}: {len(plan.stages)} stages for {len(plan.runs)} runs, in {out}")
    print("\n".join(describe(plan, again)), flush=True)
    if dry_run:
        return 0
    run_stages(plan, again)
    if plan.evaluation:
        from gkd_lightning.pipeline.judge import report_plan

        report_plan(plan, again=start is not None)
    return 0


def _seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text}: expected whole numbers such as 0,1,2") from None
