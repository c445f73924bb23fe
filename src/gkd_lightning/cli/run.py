"""`gkd run RECIPE`: stages, evaluation and report from one YAML."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from pathlib import Path

from gkd_lightning.cli.options import Options
from gkd_lightning.cli.study import Study, execute
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
    options.add_argument(
        "--accept-data", action="store_true", help="keep finished stages although files of their data have changed"
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
        study,
        start=found.start,
        dry_run=found.dry_run,
        jobs=found.jobs,
        only=found.only,
        launch=found.launch,
        accept_data=found.accept_data,
    )
    if found.dry_run:
        from gkd_lightning.chain import cost_summary, data_needed, look_at_data

        plan = study.plan()
        data = data_needed([plan])
        print(*cost_summary([plan], plan.out, found.tflops), *data, sep="\n", flush=True)
        look_at_data(data)
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


def _submit(study: Study, start: str | None, sbatch: list[str], dry_run: bool) -> int:
    from gkd_lightning.chain import check_plan, jobs_of, submit

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


def _probe(study: Study, steps: int, fit_batch: bool, memory: float | None) -> int:
    from gkd_lightning.chain import check_plan, data_needed, expected_time, require_data, trials

    plan = study.plan()
    check_plan(plan)
    require_data(data_needed([plan]))
    found = []
    for trial in trials(plan, steps, fit_batch, memory):
        found.append(trial)
        print(trial, flush=True)
    print(expected_time(found))
    return 0
