"""`gkd run RECIPE`: stages, evaluation and report from one YAML."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gkd_lightning.cli.options import Options
from gkd_lightning.errors import UserError

if TYPE_CHECKING:
    from gkd_lightning.pipeline.plan import Plan


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
        help="on top of the recipe; STAGE:key=value for one stage, evaluate:key=value for the evaluation; "
        "teacher/a.yaml=teacher/b.yaml takes another fragment",
    )
    options.add_argument("--seeds", help="such as 0,1,2, instead of the recipe's")
    options.add_argument("--methods", help="only these rows of the recipe's table, such as gkd,mse")
    options.add_argument("--from", dest="start", metavar="STAGE", help="run STAGE (or evaluate) and all after it again")
    options.add_argument("--out", type=Path, help="folder of stages and results (default: runs/<recipe>)")
    options.add_argument(
        "--store", type=Path, help="folder of the stages, to share it among recipes (default: OUT/stages)"
    )
    options.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="run N stages at once, cores and GPUs shared out"
    )
    options.add_argument(
        "--only", metavar="STAGE-HASH", help="run just this one of the plan's stages, as --dry-run names it"
    )
    options.add_argument(
        "--launch",
        metavar="COMMAND",
        help="starts the processes of a stage: srun, or 'torchrun --nproc-per-node 8' (default: Lightning does)",
    )
    options.add_argument("--submit", choices=["slurm"], help="a job for every stage, each after its parent")
    options.add_argument(
        "--sbatch", action="append", default=[], metavar="OPTION", help="of every job, such as --sbatch=--partition=gpu"
    )
    options.add_argument("--dry-run", action="store_true", help="print the plan, its cost (or the jobs), do nothing")
    add_tflops(options)
    options.add_argument(
        "--probe",
        type=int,
        metavar="N",
        help="time N steps of every stage (in a folder of its own), print speed, memory and the hours of all, then end",
    )
    options.add_argument(
        "--fit-batch",
        action="store_true",
        help="of --probe: find the largest batch that fits into one device, and how the global batch is made of it",
    )
    options.add_argument(
        "--memory", type=_positive, metavar="GIB", help="of --fit-batch: use no more than so much (on a CPU: needed)"
    )
    options.add_argument(
        "--grid",
        action="append",
        default=[],
        metavar="KEY=V1,V2,…",
        help="every combination of these settings up to --stage, ranked by --objective; several --grid multiply",
    )
    options.add_argument("--stage", help="of --grid: the stage that is judged (default: task_agnostic)")
    options.add_argument(
        "--objective", help="of --grid: a number that this stage logs, larger is better (default: val/probe/miou)"
    )
    options.add_argument(
        "--then-run", action="store_true", help="of --grid: then the whole recipe, once, with the best values"
    )
    found = options.read(arguments)
    study = Study(
        found.recipe, tuple(found.settings), seeds=found.seeds, methods=found.methods, out=found.out, store=found.store
    )
    if found.probe is not None:
        for name in ("grid", "submit", "only", "start", "launch", "dry_run"):
            if getattr(found, name):
                raise UserError(f"--probe: not together with --{'from' if name == 'start' else name.replace('_', '-')}")
        if found.memory is not None and not found.fit_batch:
            raise UserError("--memory: only together with --fit-batch")
        return _probe(study, found.probe, found.fit_batch, found.memory)
    for name in ("fit_batch", "memory"):
        if getattr(found, name):
            raise UserError(f"--{name.replace('_', '-')}: only together with --probe")
    if found.grid:
        from gkd_lightning.cli.grid import run_grid

        return run_grid(study, found)
    for name in ("stage", "objective", "then_run"):
        if getattr(found, name):
            raise UserError(f"--{name.replace('_', '-')}: only together with --grid")
    if found.submit is not None:
        return _submit(study, found.start, found.sbatch, found.dry_run)
    status = execute(
        study, start=found.start, dry_run=found.dry_run, jobs=found.jobs, only=found.only, launch=found.launch
    )
    if found.dry_run:
        from gkd_lightning.pipeline.estimate import summary

        plan = study.plan()
        print("\n".join(summary([plan], plan.out, found.tflops)))
    return status


def add_tflops(options: Options) -> None:
    """`--tflops`, which turns a plan's operations into hours."""
    options.add_argument(
        "--tflops",
        type=_positive,
        metavar="N",
        help="10**12 operations a second that one device sustains, for the plan",
    )


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"{text} is no number above 0")
    return value


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
        from gkd_lightning.pipeline.plan import make_plan
        from gkd_lightning.pipeline.recipe import parse_setting
        from gkd_lightning.pipeline.recipe_reader import load_recipe

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


def _submit(study: Study, start: str | None, sbatch: list[str], dry_run: bool) -> int:
    from gkd_lightning.pipeline.chain import check_plan
    from gkd_lightning.pipeline.slurm import jobs_of, submit

    if start is not None:
        raise UserError("--from: not together with --submit; run the stage once more with --only and --from")
    plan = study.plan()
    check_plan(plan)
    jobs = jobs_of(plan, study.recipe, study.options(), sbatch)
    if not dry_run:
        submit(jobs, plan.out / "slurm", print)
        return 0
    for job in jobs:
        print(f"# {job.name}" + (f", after {', '.join(job.after)}" if job.after else "") + f"\n{job.script}")
    return 0


def execute(
    study: Study,
    *,
    start: str | None = None,
    dry_run: bool = False,
    jobs: int = 1,
    only: str | None = None,
    launch: str | None = None,
    seek_data: bool = True,
) -> int:
    """Plan a recipe, check all of it, and carry it out unless only the plan is wanted.

    Args:
        study: the recipe with its options.
        start: run this stage and all after it again.
        dry_run: only print the plan.
        jobs: stages at once.
        only: run just this stage.
        launch: see `run_stage`.
        seek_data: look for all data sets before the first stage.
    """
    from gkd_lightning.pipeline.chain import check_plan, describe, link_stages, run_stage, run_stages, stages_from
    from gkd_lightning.pipeline.compose import nearest
    from gkd_lightning.pipeline.needs import require_data
    from gkd_lightning.pipeline.recipe import EVALUATE

    plan = study.plan()
    recipe = plan.recipe
    places = [*recipe.stage_names, EVALUATE]
    if start is not None and start not in places:
        raise UserError(f"--from {start}: no such stage{nearest(start, places)} (stages: {', '.join(places)})")
    if only is not None:
        stages = {stage.directory.name: stage for stage in plan.stages}
        if only not in stages:
            raise UserError(f"--only {only}: no such stage in the plan{nearest(only, stages)} (see --dry-run)")
        run_stage(stages[only], again=stages[only].hash in stages_from(plan, start), launch=launch)
        return 0
    check_jobs(jobs, launch)
    check_plan(plan)
    again = stages_from(plan, start)
    print(f"{recipe.title}: {len(plan.stages)} stages for {len(plan.runs)} runs, in {plan.out}")
    print("\n".join(describe(plan, again, costs=dry_run)), flush=True)
    if dry_run:
        return 0
    if seek_data:
        require_data(plan)
    if jobs > 1:
        from gkd_lightning.pipeline.jobs import run_jobs, stage_command

        run_jobs(plan, jobs, stage_command(study.recipe, study.options()), again)
    else:
        run_stages(plan, again, launch)
    link_stages(plan)
    if plan.evaluation:
        from gkd_lightning.pipeline.judge import report_plan

        report_plan(plan, again=start is not None)
    return 0


def _probe(study: Study, steps: int, fit_batch: bool, memory: float | None) -> int:
    from gkd_lightning.pipeline.chain import check_plan
    from gkd_lightning.pipeline.needs import require_data
    from gkd_lightning.pipeline.trial import expected, trials

    plan = study.plan()
    check_plan(plan)
    require_data(plan)
    found = []
    for trial in trials(plan, steps, fit_batch, memory):
        found.append(trial)
        print(trial, flush=True)
    print(expected(found))
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
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds {text}: expected whole numbers such as 0,1,2") from None
