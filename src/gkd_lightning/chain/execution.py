"""Carry out a plan: stages that are finished are skipped, interrupted ones resumed, the rest trained."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from gkd_lightning.chain.data_changes import training_data
from gkd_lightning.chain.identity import ARTEFACTS
from gkd_lightning.chain.lock import HELD, locked
from gkd_lightning.chain.plan import DONE, STARTED, Plan, PlannedStage
from gkd_lightning.chain.provenance import git_commit, versions
from gkd_lightning.chain.resume import forget_checkpoints, newest_checkpoint
from gkd_lightning.errors import OURS, Terminated, UserError
from gkd_lightning.files import file_sha256, write_json, write_text
from gkd_lightning.recipes import dump_yaml

STAGE_CONFIG = "stage.yaml"
LOG = "stage.log"


def describe(plan: Plan, again: frozenset[str] = frozenset(), costs: bool = False) -> list[str]:
    """One line per stage: what it is, where it goes, whether it exists, and who uses it; with `costs` what it takes."""
    from gkd_lightning.chain.cost import stage_cost

    lines = []
    for stage in plan.stages:
        state = "run" if stage.hash in again else stage.state()
        if any(parent.hash in again for parent in stage.parents):
            state = "run"
        what = {"done": "finished, skip", "resume": "interrupted, resume", "run": "run"}[state]
        parents = " and ".join(parent.directory.name for parent in stage.parents)
        start = f"after {parents}" if parents else "from the start"
        users = ",".join(stage.users)
        lines.append(f"{stage.directory.name:<36} {what:<20} steps {stage.what.length:<8} {start:<40} for {users}")
        if costs and (cost := stage_cost(stage)) is not None:
            lines.append(f"  {cost}")
        manifest = stage.manifest() if state == "done" else None
        if manifest is not None and manifest.get("git_commit") != git_commit():
            lines.append(f"  note: made by commit {manifest.get('git_commit')}, the code is now at {git_commit()}")
    return lines


def stages_from(plan: Plan, name: str | None) -> frozenset[str]:
    """Hashes of the stages called `name` and of all that come after them: ``--from`` runs these again."""
    if name is None:
        return frozenset()
    chosen: set[str] = set()
    for stage in plan.stages:
        if stage.name == name or any(parent.hash in chosen for parent in stage.parents):
            chosen.add(stage.hash)
    return frozenset(chosen)


def check_plan(plan: Plan) -> None:
    """Check every stage's configuration, and that its batch fits the devices, before the first one runs.

    Raises:
        UserError: names the stage and the key.
    """
    from gkd_lightning.chain.config_check import check_config
    from gkd_lightning.chain.judging.plan_report import evaluation_config

    with tempfile.TemporaryDirectory() as folder:
        different: dict[str, PlannedStage] = {}
        for stage in plan.stages:
            different.setdefault(alike(stage), stage)
        for stage in different.values():
            path = Path(folder) / STAGE_CONFIG
            path.write_text(dump_yaml(stage.config), encoding="utf-8")
            try:
                check_config(path)
                stage.what.check()
            except UserError as error:
                raise UserError(f"stage {stage.name} of {stage.users[0]}: {error}") from error
        if plan.evaluation:
            path = Path(folder) / "test.yaml"
            path.write_text(dump_yaml(evaluation_config(plan, "segmenter.safetensors")), encoding="utf-8")
            try:
                check_config(path)
            except UserError as error:
                raise UserError(f"evaluate: {error}") from error


def alike(stage: PlannedStage) -> str:
    """Equal for stages that differ in the seed, or in the weights they start from: valid together or not at all."""
    return re.sub(r"artefact:\w+", "artefact:", dump_yaml({**stage.config, "seed_everything": None}))


def run_stages(plan: Plan, again: frozenset[str] = frozenset(), launch: str | None = None) -> None:
    """Bring every stage of the plan to its end, parents first; `launch` as in `run_stage`."""
    for stage in plan.stages:
        stage.what.layout.check_launcher(launch)
    for stage in plan.stages:
        run_stage(stage, again=stage.hash in again, launch=launch)


def link_stages(plan: Plan) -> None:
    """Make a run's folder show its stages although they lie in a shared store: links in ``<out>/stages``.

    What takes a run's folder, such as `gkd inspect`, then finds them. Nothing where the store is the run's own or the
    file system has no links.
    """
    shown = plan.out / "stages"
    for stage in plan.stages:
        link = shown / stage.directory.name
        if link.absolute() == stage.directory.absolute() or (link.exists() and not link.is_symlink()):
            continue
        shown.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            link.symlink_to(os.path.relpath(stage.directory.resolve(), shown.resolve()), target_is_directory=True)


def run_stage(stage: PlannedStage, again: bool = False, launch: str | None = None) -> None:
    """Train one stage unless it is finished already.

    A user's mistake that stops it before anything could be resumed leaves no folder behind.

    Args:
        stage: what to train.
        again: even if it is finished.
        launch: starts its arguments once per device, such as ``torchrun --nproc-per-node 8``; None: Lightning does.
    """
    for parent in stage.parents:
        parent.artefact()  # or a complaint, before anything is touched
    if not again and stage.state() == "done":  # also where nothing can be written, such as a shared store
        print(f"{stage.title}: finished before, skipped ({stage.directory})", flush=True)
        return
    fresh = not stage.directory.exists()
    with locked(stage.directory):
        try:
            _bring_to_end(stage, again, launch)
        except UserError:
            if fresh and newest_checkpoint(stage.directory) is None and not (stage.directory / LOG).exists():
                _remove(stage.directory)
            raise


def _remove(directory: Path) -> None:
    shutil.rmtree(directory)
    for parent in directory.parents[:2]:  # stages/ and the recipe's folder, where nothing else is in them
        with contextlib.suppress(OSError):
            parent.rmdir()


def forget(stage: PlannedStage) -> None:
    """Make a stage run from its beginning the next time."""
    for name in (DONE, STARTED):
        (stage.directory / name).unlink(missing_ok=True)
    forget_checkpoints(stage.directory)


def _bring_to_end(stage: PlannedStage, again: bool, launch: str | None) -> None:
    if again:
        forget(stage)
    for leftover in stage.directory.glob(".*.partial"):  # what a killed process was writing
        leftover.unlink()
    state = stage.state()
    if state == "done":
        print(f"{stage.title}: finished before, skipped ({stage.directory})", flush=True)
        return
    start = stage.start()
    resume = newest_checkpoint(stage.directory)
    if state == "run":
        forget(stage)
        data = training_data(stage, read=False)  # reading all of them would delay the first step
        write_json(stage.directory / STARTED, {"hash": stage.hash, "starts_from": start, "data": data})
    config_path = stage.directory / STAGE_CONFIG
    write_text(config_path, dump_yaml(stage.final_config()))
    arguments = ["--config", str(config_path)]
    if state == "resume":
        print(f"{stage.title}: resumes from {resume}", flush=True)
        arguments += ["--ckpt_path", str(resume)]
    if launch is not None:
        _fit_in_processes(stage, arguments, launched(launch))
    elif stage.what.layout.devices_here > 1:
        _fit_in_processes(stage, arguments, [sys.executable])
    else:
        from gkd_lightning.chain.stage_cli import StageCLI

        StageCLI(arguments).run()
        gc.collect()  # the trainer and its modules refer to each other
    _finish(stage, start)


def launched(launch: str) -> list[str]:
    """The beginning of a command that runs a Python module under a launcher.

    torchrun is a Python program itself and takes the module; any other launcher takes the interpreter.
    """
    words = shlex.split(launch)
    if not words:
        raise UserError("--launch: is empty; give a command such as srun or 'torchrun --nproc-per-node 8'")
    return words if any(Path(word).name == "torchrun" for word in words) else [*words, sys.executable]


def _fit_in_processes(stage: PlannedStage, arguments: list[str], begin: list[str]) -> None:
    """Without a launcher Lightning starts one process per device by calling the same command again."""
    log = stage.directory / LOG
    command = [*begin, "-m", "gkd_lightning", "fit", *arguments]
    with log.open("w", encoding="utf-8") as handle:
        try:
            held = {**os.environ, HELD: str(stage.directory.resolve())}
            status = _ended(subprocess.Popen(command, stderr=handle, env=held))
        except FileNotFoundError as error:
            raise UserError(f"--launch {begin[0]}: no such command") from error
    if status == 130:
        raise KeyboardInterrupt(str(stage.directory))
    if status != 0:
        raise failure(stage, status, log.read_text(encoding="utf-8"))


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Wait; when interrupted give it time to end by itself. A terminal's Ctrl-C it has received, too."""
    try:
        return process.wait()
    except KeyboardInterrupt as interrupt:
        if isinstance(interrupt, Terminated):
            process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(timeout=60)
        process.terminate()
        process.wait()
        raise


def failure(stage: PlannedStage, status: int, errors: str) -> Exception:
    """What to raise when a stage's own process has failed: a user's mistake stays one.

    Its own last line tells, wherever a launcher's report put it; launchers do not always hand on the exit status 2.
    """
    lines = errors.strip().splitlines() or [f"exit status {status}"]
    own = [line for line in lines if line.startswith("gkd: ")]
    line = (own or lines)[-1].removeprefix("gkd: ")
    mistake = status == 2 or (bool(own) and not line.endswith(OURS))
    text = f"stage {stage.name} seed {stage.seed}: {line.removesuffix(OURS)} (see {stage.directory / LOG})"
    return UserError(text) if mistake else RuntimeError(text)


def _finish(stage: PlannedStage, start: Mapping[str, str | None]) -> None:
    names = [name for name in ARTEFACTS if (stage.directory / name).is_file()]
    if not names:
        raise UserError(f"stage {stage.name}: {stage.directory} holds no artefact, does the model have `export`?")
    manifest = {
        "stage": stage.name,
        "seed": stage.seed,
        "hash": stage.hash,
        "artefact": names[0],
        "sha256": file_sha256(stage.directory / names[0]),
        "files": sorted(path.name for path in stage.directory.glob(f"{Path(names[0]).stem}.*")),
        "starts_from": dict(start),
        "data": training_data(stage),
        "costs": json.loads((stage.directory / "costs.json").read_text(encoding="utf-8")),
        "git_commit": git_commit(),
        "versions": versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(stage.directory / DONE, manifest)
    forget_checkpoints(stage.directory)
