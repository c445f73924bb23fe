"""`gkd run RECIPE --grid …`: a sweep without any account."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from gkd_lightning.cli.study import Study, check_jobs, execute
from gkd_lightning.errors import UserError

if TYPE_CHECKING:
    from gkd_lightning.chain import PlannedStage, Trial


def run_grid(study: Study, found: argparse.Namespace) -> int:
    """Train every combination up to the judged stage, rank them, say (or do) what comes next.

    Raises:
        UserError: options that do not go with a sweep, or any of those of `gkd_lightning.chain.grid`.
    """
    from gkd_lightning.chain import (
        OBJECTIVE,
        check_objective,
        check_plan,
        combinations,
        data_needed,
        describe,
        look_at_data,
        ranked,
        require_data,
        run_jobs,
        run_stages,
        scored,
        stage_command,
        trial_of,
        with_parents,
        write_trials,
    )

    for name in ("submit", "only", "start"):
        if getattr(found, name) is not None:
            raise UserError(f"--grid: not together with --{'from' if name == 'start' else name}")
    check_jobs(found.jobs, found.launch)
    stage_name, objective = found.stage or "task_agnostic", found.objective or OBJECTIVE
    check_objective(objective)
    if found.methods is not None and "," in found.methods:
        raise UserError(f"--methods {found.methods}: a sweep is about one row, name one")
    first = study.plan()
    store = study.store or first.out / "stages"
    trials: list[Trial] = []
    stages: dict[str, PlannedStage] = {}
    options: dict[str, list[str]] = {}
    for settings in combinations(found.grid):
        tried = replace(study, settings=(*study.settings, *settings), store=store)
        trial = trial_of(tried.plan(), settings, stage_name, found.methods)
        for stage in with_parents(trial.stages):
            stages.setdefault(stage.hash, stage)
            options.setdefault(stage.hash, tried.options())
        trials.append(trial)
    plan = replace(first, stages=tuple(stages.values()), evaluation={})
    check_plan(plan)
    print(f"{plan.recipe.title}: {len(trials)} combinations, {len(plan.stages)} stages, in {plan.out}")
    print("\n".join(describe(plan, costs=found.dry_run)), flush=True)
    data = data_needed([plan])
    if found.dry_run:
        print(*data, sep="\n", flush=True)
        look_at_data(data)
        return 0
    require_data(data)
    if found.jobs > 1:
        run_jobs(plan, found.jobs, lambda stage: stage_command(study.recipe, options[stage.hash])(stage))
    else:
        run_stages(plan, launch=found.launch)
    order = ranked(scored(trial, objective) for trial in trials)
    facts = {"recipe": study.recipe, "stage": stage_name, "objective": objective}
    print(write_trials(order, plan.out / "sweep", facts), end="")
    winner = replace(study, settings=(*study.settings, *order[0].settings), store=store)
    print(f"best: {' '.join(order[0].settings)}  {objective} {order[0].spread}  (all in {plan.out / 'sweep'})")
    if not found.then_run:
        print(f"the whole chain with it: {shlex.join(['gkd', 'run', study.recipe, *winner.options()])}")
        return 0
    return execute(winner, jobs=found.jobs, launch=found.launch)
