"""Several stages of a plan at a time, each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from gkd_lightning.chain.execution import LOG, failure, forget
from gkd_lightning.chain.lock import locked
from gkd_lightning.chain.plan import Plan, PlannedStage
from gkd_lightning.cores import SHARE, cores
from gkd_lightning.errors import UserError

Command = Callable[[PlannedStage], list[str]]


def run_jobs(plan: Plan, jobs: int, command: Command, again: frozenset[str] = frozenset()) -> None:
    """Bring every stage of the plan to its end, up to `jobs` of them at once, parents first.

    The cores are shared out among the processes (unless OMP_NUM_THREADS is set), and so are the GPUs of a machine
    that has several. A failure starts nothing new and lets the running stages finish; Ctrl-C ends them with a
    checkpoint.

    Args:
        plan: what to do.
        jobs: how many stages at once.
        command: the command that runs one stage and nothing else.
        again: hashes of stages to run even if they are finished.

    Raises:
        UserError: a stage that asks for several devices, or the first failure's last line.
    """
    for stage in plan.stages:
        if stage.what.layout.devices_here > 1:
            raise UserError(f"--jobs {jobs}: stage {stage.name} trains on several devices, leave --jobs out")
    waiting = []
    for stage in plan.stages:
        if stage.hash in again:
            with locked(stage.directory):
                forget(stage)
        if stage.state() == "done":
            print(f"{stage.title}: finished before, skipped ({stage.directory})", flush=True)
        else:
            waiting.append(stage)
    _Pool(waiting, jobs, command).run()


class _Pool:
    def __init__(self, waiting: list[PlannedStage], jobs: int, command: Command) -> None:
        self.waiting = waiting
        self.free = list(range(jobs))
        self.jobs = jobs
        self.command = command
        self.gpus = _visible_gpus()
        self.running: dict[Future[Exception | None], tuple[PlannedStage, int]] = {}
        self.processes: dict[int, subprocess.Popen[str]] = {}
        self.failure: Exception | None = None

    def run(self) -> None:
        with ThreadPoolExecutor(self.jobs) as threads:
            try:
                self._start(threads)
                while self.running:
                    ended, _ = wait(self.running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        _, slot = self.running.pop(future)
                        self.free.append(slot)
                        self.failure = self.failure or future.result()
                    if self.failure is None:
                        self._start(threads)
            except KeyboardInterrupt:
                for process in list(self.processes.values()):
                    process.send_signal(signal.SIGINT)
                raise
        if self.failure is not None:
            raise self.failure

    def _start(self, threads: ThreadPoolExecutor) -> None:
        for stage in list(self.waiting):
            if not self.free:
                return
            if all(parent.state() == "done" for parent in stage.parents):
                self.waiting.remove(stage)
                slot = self.free.pop(0)
                self.running[threads.submit(self._carry_out, stage, slot)] = (stage, slot)

    def _carry_out(self, stage: PlannedStage, slot: int) -> Exception | None:
        """Run one stage, relay what it prints; what to raise if it fails."""
        environment = {**os.environ, **_share(os.environ, slot, self.jobs, self.gpus)}
        with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
            process = subprocess.Popen(
                self.command(stage),
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # a terminal's Ctrl-C reaches it through us alone, once
            )
            self.processes[slot] = process
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
            status = process.wait()
            del self.processes[slot]
            errors.seek(0)
            said = errors.read()
        if status == 0:
            return None
        stage.directory.mkdir(parents=True, exist_ok=True)
        (stage.directory / LOG).write_text(said, encoding="utf-8")
        return failure(stage, status, said)


def _share(given: Mapping[str, str], slot: int, jobs: int, gpus: list[str]) -> dict[str, str]:
    """What one of the processes may use of the machine, as environment variables."""
    own = str(max(cores(given) // jobs, 1))
    share = {SHARE: own}
    if "OMP_NUM_THREADS" not in given:
        share["OMP_NUM_THREADS"] = own
    if len(gpus) > 1:
        share["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return share


def _visible_gpus() -> list[str]:
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return given.split(",")[:count] if given else [str(index) for index in range(count)]


def stage_command(recipe: str, options: list[str]) -> Command:
    """`gkd run RECIPE … --only STAGE` for each stage, with the options of `gkd run` that shaped the plan."""

    def command(stage: PlannedStage) -> list[str]:
        program = [sys.executable, "-m", "gkd_lightning"]
        return [*program, "run", recipe, *options, "--only", stage.directory.name]

    return command
