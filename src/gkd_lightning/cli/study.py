"""A recipe as the command line asks for it, and how it is carried out: what several verbs share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gkd_lightning.errors import UserError

if TYPE_CHECKING:
    from gkd_lightning.chain import Plan


@dataclass(frozen=True)
class Study:
    """A recipe with what the command line says about it: all that shapes its plan."""

    recipe: str
    settings: tuple[str, ...] = ()
    seeds: str | None = None
    methods: str | None = None
    out: Path | None = None
    store: Path | None = None

    def plan(self) -> Plan:
        """All stages and runs.

        Raises:
            UserError: as `load_recipe` and `make_plan`.
        """
        from gkd_lightning.chain import make_plan
        from gkd_lightning.recipes import load_recipe, parse_setting

        recipe = load_recipe(self.recipe)
        return make_plan(
            recipe,
            self.out or Path("runs") / recipe.name,
            [parse_setting(text) for text in self.settings],
            _seeds(self.seeds),
            None if self.methods is None else self.methods.split(","),
            self.store,
        )

    def options(self) -> list[str]:
        """The same as options of `gkd run`."""
        given = {"--seeds": self.seeds, "--methods": self.methods, "--out": self.out, "--store": self.store}
        settings = [part for text in self.settings for part in ("--set", text)]
        return settings + [part for name, value in given.items() if value is not None for part in (name, str(value))]


def execute(
    study: Study,
    *,
    start: str | None = None,
    dry_run: bool = False,
    jobs: int = 1,
    only: str | None = None,
    launch: str | None = None,
    seek_data: bool = True,
    accept_data: bool = False,
) -> int:
    """Plan a recipe, check all of it, and carry it out unless only the plan is wanted.

    Args:
        study: the recipe with its options.
        start: run this stage and all after it again.
        dry_run: only print the plan.
        jobs: stages at once.
        only: run just this stage.
        launch: see `run_stage`.
        seek_data: look for all data sets, and at a few files of each, before the first stage.
        accept_data: keep finished stages whose data have changed since.
    """
    from gkd_lightning.chain import (
        check_data_changes,
        check_plan,
        data_needed,
        describe,
        link_stages,
        rehearse,
        require_data,
        run_stage,
        run_stages,
        stages_from,
    )
    from gkd_lightning.errors import nearest
    from gkd_lightning.recipes import EVALUATE

    plan = study.plan()
    recipe = plan.recipe
    places = [*recipe.stage_names, EVALUATE]
    if start is not None and start not in places:
        raise UserError(f"--from {start}: no such stage{nearest(start, places)} (stages: {', '.join(places)})")
    if only is not None:
        stages = {stage.directory.name: stage for stage in plan.stages}
        if only not in stages:
            raise UserError(f"--only {only}: no such stage in the plan{nearest(only, stages)} (see --dry-run)")
        again_too = stages[only].hash in stages_from(plan, start)
        if not again_too:
            check_data_changes(replace(plan, stages=(stages[only],)), accept_data)
        run_stage(stages[only], again=again_too, launch=launch)
        return 0
    check_jobs(jobs, launch)
    check_plan(plan)
    again = stages_from(plan, start)
    print(f"{recipe.title}: {len(plan.stages)} stages for {len(plan.runs)} runs, in {plan.out}")
    print("\n".join(describe(plan, again, costs=dry_run)), flush=True)
    if built := rehearse(plan):
        print(f"built without values, and their classes compared: {built} different models", flush=True)
    if dry_run:
        return 0
    if seek_data:
        require_data(data_needed([plan]))
    check_data_changes(replace(plan, stages=tuple(s for s in plan.stages if s.hash not in again)), accept_data)
    if jobs > 1:
        from gkd_lightning.chain import run_jobs, stage_command

        run_jobs(plan, jobs, stage_command(study.recipe, study.options()), again)
    else:
        run_stages(plan, again, launch)
    link_stages(plan)
    if plan.evaluation:
        from gkd_lightning.chain.judging import report_plan

        report_plan(plan, again=start is not None)
    return 0


def check_jobs(jobs: int, launch: str | None) -> None:
    """Refuse a number of jobs below 1, and several of them under a launcher."""
    if jobs > 1 and launch is not None:
        raise UserError("--jobs: not together with --launch, which has one stage's processes share the devices")
    if jobs < 1:
        raise UserError(f"--jobs {jobs}: give 1 or more")


def _seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text}: expected whole numbers such as 0,1,2") from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError(f"--seeds {text}: expected different whole numbers from 0 on, such as 0,1,2")
    return seeds
