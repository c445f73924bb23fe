"""A few real steps of every stage of a plan, to know beforehand how long all of it will take."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gkd_lightning.chain.cost import images_of, split_over, time_text
from gkd_lightning.chain.execution import ARTEFACTS, STAGE_CONFIG, alike
from gkd_lightning.chain.plan import Plan, PlannedStage
from gkd_lightning.errors import UserError
from gkd_lightning.recipes import Config, compose, dump_yaml, get_value, set_value


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
        seconds: expected for one such stage on the devices that it asks for, if these share the work evenly; None if
            nobody knows how many images it will see.
        untrained: stages whose artefacts it should start from; they are not finished, so it had the weights of their
            own trials, which are random but for those few steps.
    """

    stage: PlannedStage
    stages: int
    left: int
    images_per_second: float
    waiting: float
    peak_bytes: int
    seconds: float | None
    untrained: tuple[str, ...]

    def __str__(self) -> str:
        time = "time unknown" if self.seconds is None else time_text(self.seconds)
        like = "" if self.stages == 1 else f" each, {self.stages} like it"
        text = (
            f"{self.stage.directory.name:<36} {self.images_per_second:8.1f} img/s  {self.peak_bytes / 1e9:6.2f} GB peak"
            f"  {self.waiting:4.0%} waiting for data  {time}{like}"
        )
        note = f"\n  with weights of no use from {' and '.join(self.untrained)}, not finished yet"
        return text + (note if self.untrained else "")


def trials(plan: Plan, steps: int) -> Iterator[Trial]:
    """Time `steps` optimiser steps of every stage, those that are alike once; nothing in the plan's folders changes.

    Validation, diagnostics and checkpoints are left out. A stage for several devices is tried with the share of one.

    Raises:
        UserError: `steps` below 1, data that are missing, a configuration that cannot be built.
    """
    if steps < 1:
        raise UserError(f"--probe {steps}: give 1 or more")
    groups: dict[str, list[PlannedStage]] = {}
    for stage in plan.stages:
        groups.setdefault(alike(stage), []).append(stage)
    made: dict[str, Path] = {}
    with tempfile.TemporaryDirectory(prefix="gkd-probe-") as folder:
        for number, (key, group) in enumerate(groups.items()):
            trial, artefact = _tried(group, steps, Path(folder) / str(number), made)
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


def _tried(group: list[PlannedStage], steps: int, folder: Path, made: Mapping[str, Path]) -> tuple[Trial, Path]:
    from gkd_lightning.chain.callbacks.stop_watch import StopWatch
    from gkd_lightning.chain.stage_cli import StageCLI

    stage = group[0]
    untrained = tuple(parent.directory.name for parent in stage.parents if parent.state() != "done")
    config = _config(stage, steps, folder, made)
    folder.mkdir()
    path = folder / STAGE_CONFIG
    path.write_text(dump_yaml(config), encoding="utf-8")
    running = StageCLI(["--config", str(path)])
    running.run()
    (watch,) = (callback for callback in running.trainer.callbacks if isinstance(callback, StopWatch))
    if not watch.images:
        raise UserError(f"stage {stage.name}: ended before {steps} steps were timed, give a smaller --probe")
    speed = watch.images / watch.seconds
    images = images_of(stage.config)
    trial = Trial(
        stage=stage,
        stages=len(group),
        left=sum(other.state() != "done" for other in group),
        images_per_second=speed,
        waiting=watch.waiting / watch.seconds,
        peak_bytes=watch.peak_bytes,
        seconds=None if images is None else images / speed / split_over(stage.config),
        untrained=untrained,
    )
    del running, watch
    gc.collect()  # the trainer and its modules refer to each other
    return trial, next(path for path in (folder / name for name in ARTEFACTS) if path.is_file())


def _config(stage: PlannedStage, steps: int, folder: Path, made: Mapping[str, Path]) -> Config:
    """The stage's own configuration on one device, quiet, with a stop-watch, into a folder of its own."""
    config = compose([], base=stage.config)
    for key, parent in stage.inputs.items():
        set_value(config, key, str(parent.artefact() if parent.state() == "done" else made[alike(parent)]))
    batch = get_value(config, "data.batch_size")
    if isinstance(batch, int):
        set_value(config, "data.batch_size", batch // split_over(stage.config))
    for name, value in {"devices": 1, "num_nodes": 1, "strategy": "auto", "limit_val_batches": 0}.items():
        set_value(config, f"trainer.{name}", value)
    for name in ("logger", "enable_progress_bar"):
        set_value(config, f"trainer.{name}", False)
    watch = {"class_path": "gkd_lightning.chain.callbacks.stop_watch.StopWatch", "init_args": {"steps": steps}}
    set_value(config, "trainer.callbacks", [watch])
    set_value(config, "trainer.default_root_dir", str(folder))
    config |= {"selection": "last", "resume_every": 10**9, "title": stage.title}
    return config
