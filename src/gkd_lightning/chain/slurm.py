"""A plan as SLURM jobs: one per stage, each after its parent, and one that judges them all.

Nothing of SLURM is rebuilt here. A job's batch process runs `gkd run … --only STAGE --launch srun`; srun starts one
process per device, in which Lightning's `SLURMEnvironment` finds its rank. A job that is about to be pre-empted gets
SIGUSR1, upon which Lightning saves a checkpoint and has the job requeued; it then goes on from there.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gkd_lightning.chain.plan import Plan
from gkd_lightning.chain.stage import Layout, alone
from gkd_lightning.errors import UserError
from gkd_lightning.files import write_text

WARNING_SECONDS = 120
"""Between the signal and the end of a job: enough to write a checkpoint of a ViT-B with its optimiser."""
JUDGE = "evaluate"
CORES = 8
"""Of a process whose `data.num_workers` is ``auto``: it then takes what the job has."""


@dataclass(frozen=True)
class Job:
    """One batch script.

    Attributes:
        name: the stage's folder name, or ``evaluate``.
        script: its text.
        after: names of the jobs that have to succeed first.
    """

    name: str
    script: str
    after: tuple[str, ...]


def jobs_of(plan: Plan, recipe: str, options: Sequence[str], sbatch: Sequence[str]) -> list[Job]:
    """A job for every stage that is not finished, parents first, and one for the evaluation.

    `options` are those of `gkd run` that shaped the plan of a `recipe`, `sbatch` further ones for every job, such as
    ``--partition=gpu``.

    Raises:
        UserError: a stage of which the number of devices is not a number.
    """
    waiting = [stage for stage in plan.stages if stage.state() != "done"]
    names = {stage.hash: stage.directory.name for stage in waiting}
    jobs = []
    for stage in waiting:
        command = ["run", recipe, *options, "--only", stage.directory.name, "--launch", "srun"]
        after = tuple(names[parent.hash] for parent in stage.parents if parent.hash in names)
        asked = [*_asked(stage.what.layout, f"stage {stage.name}"), *sbatch]
        jobs.append(Job(stage.directory.name, _script(plan, stage.directory.name, asked, command), after))
    if plan.evaluation:
        lasts = dict.fromkeys(names[run.stages[-1].hash] for run in plan.runs if run.stages[-1].hash in names)
        asked = [*_asked(Layout.read(alone(plan.evaluation)), JUDGE), *sbatch]
        jobs.append(Job(JUDGE, _script(plan, JUDGE, asked, ["run", recipe, *options]), tuple(lasts)))
    return jobs


def submit(jobs: Sequence[Job], folder: Path, say: Callable[[str], None]) -> None:
    """Write the scripts into `folder` and hand them to `sbatch`, each depending on the numbers of those before it.

    Raises:
        UserError: there is no `sbatch`, or it refuses a job.
    """
    numbers: dict[str, str] = {}
    for job in jobs:
        path = folder / f"{job.name}.sbatch"
        write_text(path, job.script)
        after = [f"--dependency=afterok:{':'.join(numbers[name] for name in job.after)}"] if job.after else []
        command = ["sbatch", "--parsable", *after, str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise UserError(f"--submit slurm: no sbatch command here; the scripts are in {folder}") from error
        if done.returncode != 0:
            reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            raise UserError(f"{path}: sbatch refused it: {reason}")
        numbers[job.name] = done.stdout.strip().split(";")[0]
        say(f"{job.name}: job {numbers[job.name]}" + (f" after {', '.join(job.after)}" if job.after else ""))


def _asked(layout: Layout, where: str) -> list[str]:
    """Nodes, processes and their cores: one to compute and one for each that loads; GPUs unless it says ``cpu``."""
    devices = layout.devices
    if not isinstance(devices, int) or devices < 1:
        raise UserError(
            f"--submit slurm: {where} has trainer.devices {devices!r}; a job needs their number: "
            "--set trainer.devices=4, and --set trainer.num_nodes=2 for more than one node"
        )
    cores = CORES if layout.workers is None else layout.workers + 1
    asked = [f"--nodes={layout.nodes}", f"--ntasks-per-node={devices}", f"--cpus-per-task={cores}"]
    return asked if layout.accelerator == "cpu" else [*asked, f"--gpus-per-node={devices}"]


def _script(plan: Plan, name: str, asked: Sequence[str], command: Sequence[str]) -> str:
    logs = plan.out.resolve() / "slurm"
    directives = [
        f"--job-name=gkd-{name}",
        f"--output={logs / name}-%j.log",
        "--open-mode=append",
        "--requeue",
        f"--signal=SIGUSR1@{WARNING_SECONDS}",
        *asked,
    ]
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {directive}" for directive in directives),
        "set -euo pipefail",
        f"cd {shlex.quote(str(Path.cwd()))}",
        "export NO_ALBUMENTATIONS_UPDATE=1",
        'export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"',  # which srun has not taken from the job since SLURM 22.05
        shlex.join([sys.executable, "-m", "gkd_lightning", *command]),
    ]
    return "\n".join(lines) + "\n"
