"""A few real steps of every stage of a plan, to know beforehand how long all of it will take."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gkd_lightning.chain.cost import images_of, stage_cost, time_text, training_images
from gkd_lightning.chain.execution import STAGE_CONFIG, alike
from gkd_lightning.chain.fitting import FittedBatch, accumulated, largest, listed, out_of_memory
from gkd_lightning.chain.identity import ARTEFACTS
from gkd_lightning.chain.plan import Plan, PlannedStage
from gkd_lightning.chain.stage import ALONE, Stage
from gkd_lightning.errors import UserError
from gkd_lightning.memory import release_memory, resident_memory
from gkd_lightning.recipes import Config, dump_yaml

if TYPE_CHECKING:
    from gkd_lightning.chain.callbacks.stop_watch import StopWatch


@dataclass(frozen=True)
class Trial:
    """What the timed steps of a stage were like, on one device.

    Attributes:
        stage: one of those that are `alike`: they differ in the seed, or in the weights that they start from.
        stages: how many of the plan are like it, this one included.
        left: how many of these are not finished.
        images_per_second: of one device, waiting for data included.
        waiting: share of the time spent waiting for data, 0 to 1.
        peak_bytes: highest memory, of the GPU where there is one, else of the whole process.
        estimated_bytes: what `stage_cost` expects of that, with what the process took before; None if it cannot tell.
        seconds: expected for one such stage on the devices that it asks for, if these share the work evenly; None if
            nobody knows how many images it will see.
        untrained: stages whose artefacts it should start from; they are not finished, so it had the weights of their
            own trials, which are random but for those few steps.
        fitted: the largest batch, if it was asked for; the steps were then taken in pieces that fit.
    """

    stage: PlannedStage
    stages: int
    left: int
    images_per_second: float
    waiting: float
    peak_bytes: int
    estimated_bytes: int | None
    seconds: float | None
    untrained: tuple[str, ...]
    fitted: FittedBatch | None = None

    def __str__(self) -> str:
        time = "time unknown" if self.seconds is None else time_text(self.seconds)
        like = "" if self.stages == 1 else f" each, {self.stages} like it"
        expected = "unknown" if self.estimated_bytes is None else f"{self.estimated_bytes / 1e9:.2f}"
        text = (
            f"{self.stage.directory.name:<36} {self.images_per_second:8.1f} img/s  {self.peak_bytes / 1e9:6.2f} GB peak"
            f" ({expected} estimated)  {self.waiting:4.0%} waiting for data  {time}{like}"
        )
        if self.fitted is not None:
            text += f"\n{self.fitted}"
        note = f"\n  with weights of no use from {' and '.join(self.untrained)}, not finished yet"
        return text + (note if self.untrained else "")


def trials(plan: Plan, steps: int, fit_batch: bool = False, memory: float | None = None) -> Iterator[Trial]:
    """Time `steps` optimiser steps of every stage, those that are alike once; nothing in the plan's folders changes.

    Validation, diagnostics and checkpoints are left out. A stage for several devices is tried with the share of one.
    With a batch for each of several sizes whole rounds of steps are taken and timed.

    Args:
        plan: its stages.
        steps: of each, at least 1.
        fit_batch: first find the largest batch that fits into one device, and accumulate where the configured does not.
        memory: GiB that `fit_batch` may use, of the GPU, or on a CPU of the whole process, where it has to be given.

    Raises:
        UserError: `steps` below 1, data that are missing, a configuration that cannot be built, too little memory.
    """
    if steps < 1:
        raise UserError(f"--probe {steps}: give 1 or more")
    groups: dict[str, list[PlannedStage]] = {}
    for stage in plan.stages:
        groups.setdefault(alike(stage), []).append(stage)
    made: dict[str, Path] = {}
    with tempfile.TemporaryDirectory(prefix="gkd-probe-") as folder:
        for number, (key, group) in enumerate(groups.items()):
            fitted = _fitted(group[0], Path(folder) / f"{number}-fit", made, memory) if fit_batch else None
            trial, artefact = _tried(group, steps, Path(folder) / str(number), made, fitted)
            made[key] = artefact
            yield trial


def expected_time(found: list[Trial]) -> str:
    """One line about all of the plan, its stages one after another."""
    known = [trial for trial in found if trial.seconds is not None]
    whole, left = (
        sum((trial.seconds or 0.0) * getattr(trial, number) for trial in known) for number in ("stages", "left")
    )
    unknown = sum(trial.stages for trial in found) - sum(trial.stages for trial in known)
    return (
        f"all {sum(trial.stages for trial in found)} stages one after another: {time_text(whole)}, of which "
        f"{time_text(left)} are left to train; without validation, diagnostics and the final evaluation"
        + (f"; {unknown} stages of unknown length are not in it" if unknown else "")
    )


def _tried(
    group: list[PlannedStage], steps: int, folder: Path, made: Mapping[str, Path], fitted: FittedBatch | None
) -> tuple[Trial, Path]:
    stage = group[0]
    untrained = tuple(parent.directory.name for parent in stage.parents if parent.state() != "done")
    trial = _on_one_device(stage, made)
    if fitted is not None:
        trial = Stage.read(trial.config_with(accumulate=fitted.accumulate))
    release_memory()
    before = 0 if torch.cuda.is_available() else resident_memory()  # in use before the stage is built
    try:
        watch = _run(trial, steps, folder)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise UserError(
            f"stage {stage.name}: out of memory with {listed(trial.images_at_once, 'or')} images at once; "
            "--fit-batch finds how many fit"
        ) from None
    if not watch.images:
        raise UserError(f"stage {stage.name}: ended before {steps} steps were timed, give a smaller --probe")
    cost = stage_cost(stage, at_once=trial.images_at_once)
    speed = watch.images / watch.seconds
    images = images_of(stage.what)
    found = Trial(
        stage=stage,
        stages=len(group),
        left=sum(other.state() != "done" for other in group),
        images_per_second=speed,
        waiting=watch.waiting / watch.seconds,
        peak_bytes=watch.peak_bytes,
        estimated_bytes=None if cost is None else before + cost.memory_bytes,
        seconds=None if images is None else images / speed / stage.what.layout.processes,
        untrained=untrained,
        fitted=fitted,
    )
    return found, next(path for path in (folder / name for name in ARTEFACTS) if path.is_file())


def _fitted(stage: PlannedStage, folder: Path, made: Mapping[str, Path], memory: float | None) -> FittedBatch:
    """Real steps with ever larger batches, until one does not fit."""
    what, limit = stage.what, None if memory is None else int(memory * 2**30)
    trial = _on_one_device(stage, made)
    if limit is None and not _on_gpu(trial):
        raise UserError("--fit-batch: on a CPU say with --memory GIB how much the process may take")
    most = training_images(stage.what) or 2**16
    sides = what.image_sizes if len(what.batch_sizes) > 1 else ()
    found: list[tuple[int, int]] = []
    for place, first in enumerate(trial.images_at_once):
        # each size alone: a few steps of drawn sizes may miss the largest
        side = sides[place] if sides else max(what.image_sizes) if len(what.image_sizes) > 1 else None
        one = trial if side is None else Stage.read(trial.config_with(image_size=side, batch_size=first))
        found.append(_largest(one, min(first, most), most, folder / str(place), limit))
        if found[-1][0] == 0:
            pixels = "" if side is None else f" of {side} pixels"
            raise UserError(
                f"stage {stage.name}: not even one image{pixels} at once fits into the memory; take a smaller model or "
                "crop"
            )
    at_once, peaks = zip(*found, strict=True)
    batches, devices = what.batch_sizes or (1,), what.layout.processes
    return FittedBatch(
        stage=stage.name,
        at_once=at_once,
        peak_bytes=peaks,
        limit_bytes=limit,
        batches=batches,
        image_sizes=sides,
        devices=devices,
        accumulate=accumulated(batches, devices, at_once),
        asked=what.layout.accumulate,
    )


def _largest(trial: Stage, first: int, most: int, folder: Path, limit: int | None) -> tuple[int, int]:
    """How many images fit at once, and the peak of memory with these."""
    peaks = {0: 0}

    def fits(images: int) -> bool:
        asked = Stage.read(trial.config_with(batch_size=images, accumulate=1))
        try:
            peaks[images] = _run(asked, 1, folder / str(images)).peak_bytes
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            return False
        return limit is None or peaks[images] <= limit

    best = largest(fits, first, most)
    return best, peaks[best]


def _run(trial: Stage, steps: int, folder: Path) -> StopWatch:
    """Take the steps; what they leave in memory is given back, whether they end or fail."""
    from gkd_lightning.chain.callbacks.stop_watch import StopWatch
    from gkd_lightning.chain.stage_cli import StageCLI

    watch: Config = {"class_path": "gkd_lightning.chain.callbacks.stop_watch.StopWatch", "init_args": {"steps": steps}}
    if len(trial.batch_sizes) > 1:
        watch["init_args"]["rounds_of"] = len(trial.batch_sizes)
    folder.mkdir(parents=True)
    path = folder / STAGE_CONFIG
    path.write_text(dump_yaml(trial.config_with(callbacks=[watch], folder=str(folder))), encoding="utf-8")
    try:
        running = StageCLI(["--config", str(path)])
        running.run()
        (found,) = (callback for callback in running.trainer.callbacks if isinstance(callback, StopWatch))
        return found
    finally:
        running = None  # type: ignore[assignment]  # the trainer and its modules refer to each other
        release_memory()


def _on_gpu(trial: Stage) -> bool:
    return torch.cuda.is_available() and trial.layout.accelerator != "cpu"


def _on_one_device(stage: PlannedStage, made: Mapping[str, Path]) -> Stage:
    """A stage with one device's share of the batch, quiet."""
    what, begun = stage.what, {}
    for key, parent in stage.inputs.items():
        begun[key] = str(parent.artefact() if parent.state() == "done" else made[alike(parent)])
    shares = [size // what.layout.processes for size in what.batch_sizes]
    share = {"batch_size": shares if len(shares) > 1 else shares[0]} if shares else {}
    quiet = {"validation_batches": 0, "logger": False, "progress_bar": False, "resume_every": 10**9}
    return Stage.read(what.config_with(begun, **ALONE, **share, **quiet, selection="last", title=stage.title))
