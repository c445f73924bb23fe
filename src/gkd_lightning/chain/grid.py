"""Every combination of some settings, up to one stage of a recipe, ranked by a number that the stage logs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gkd_lightning.chain.callbacks.probe import PROBE
from gkd_lightning.chain.logger import METRICS_JSONL, read_metrics
from gkd_lightning.chain.plan import Plan, PlannedStage
from gkd_lightning.errors import UserError, nearest
from gkd_lightning.evaluate import Spread
from gkd_lightning.files import csv_text, write_json, write_text
from gkd_lightning.recipes import parse_setting
from gkd_lightning.report import grid

OBJECTIVE = PROBE
"""What trials are ranked by unless the user names another number."""
MOST = 1000
"""Combinations of a grid."""


@dataclass(frozen=True)
class Trial:
    """One combination.

    Attributes:
        settings: ``key=value`` texts, as `--set` takes them.
        stages: the stage that is judged, one for each seed.
        scores: the objective of each, in their order; empty before they are trained.
    """

    settings: tuple[str, ...]
    stages: tuple[PlannedStage, ...]
    scores: tuple[float, ...] = ()

    @property
    def spread(self) -> Spread:
        """Mean and standard deviation over seeds."""
        return Spread.of(self.scores)


def combinations(axes: Sequence[str]) -> list[tuple[str, ...]]:
    """``["a=1,2", "b=3"]`` -> ``[("a=1", "b=3"), ("a=2", "b=3")]``.

    Raises:
        UserError: an axis without a key or without values, or one key twice.
    """
    choices: dict[str, list[str]] = {}
    for axis in axes:
        key, equals, values = axis.partition("=")
        found = [value.strip() for value in values.split(",")]
        if not key or not equals or not all(found):
            raise UserError(f"--grid {axis}: expected key=value,value,… such as task_agnostic:model.alpha=0.5,1,2")
        if key in choices:
            raise UserError(f"--grid {axis}: {key} is there twice, put all its values in one --grid")
        for value in found:
            parse_setting(f"{key}={value}")
        choices[key] = [f"{key}={value}" for value in found]
    count = math.prod(len(values) for values in choices.values())
    if count > MOST:
        raise UserError(f"--grid: {count:,} combinations; more than {MOST:,} are no sweep, try fewer values")
    return list(itertools.product(*choices.values()))


def check_objective(objective: str) -> None:
    """Refuse what must not choose a recipe.

    Raises:
        UserError: a loss, which is smallest where its weights are, or a score of the evaluation's domains.
    """
    if objective.startswith("train/"):
        raise UserError(
            f"--objective {objective}: losses under different weights cannot be compared (all weights 0 would win); "
            f"take {OBJECTIVE}"
        )
    if not objective.startswith("val/"):
        raise UserError(f"--objective {objective}: what is judged on must not choose; take {OBJECTIVE} or another val/")


def trial_of(plan: Plan, settings: tuple[str, ...], stage: str, method: str | None) -> Trial:
    """The stages called `stage` of a plan that was made with a trial's settings; without `method` of the recipe's own.

    Raises:
        UserError: the row has no such stage.
    """
    wanted = method or plan.recipe.highlight
    runs = [run for run in plan.runs if run.method.id == wanted]
    if not runs:
        known = [each.id for each in plan.recipe.methods]
        raise UserError(f"--methods: '{wanted}' is no row of the recipe{nearest(wanted, known)}")
    found = [each for run in runs for each in run.stages if each.name == stage]
    if not found:
        names = [each.name for each in runs[0].stages]
        raise UserError(f"--stage {stage}: {wanted} has no such stage{nearest(stage, names)} ({', '.join(names)})")
    return Trial(settings, tuple(found))


def scored(trial: Trial, objective: str) -> Trial:
    """The trial with its scores: the last that each stage has logged.

    Raises:
        UserError: a stage never logged the objective; the message names the nearest number that it did.
    """
    scores = []
    for stage in trial.stages:
        rows = read_metrics(stage.directory / METRICS_JSONL)
        values = [row[objective] for row in rows if row.get(objective) is not None]
        if not values:
            logged = sorted({key for row in rows for key in row} - {"step", "seconds", "epoch"})
            raise UserError(
                f"--objective {objective}: stage {stage.name} never logged it{nearest(objective, logged)}; "
                "put a fragment such as probe/minicity.yaml into its configs"
            )
        scores.append(float(values[-1]))
    return Trial(trial.settings, trial.stages, tuple(scores))


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """The best first."""
    return sorted(trials, key=lambda trial: -trial.spread.mean)


def write_trials(trials: Sequence[Trial], folder: Path, facts: Mapping[str, Any]) -> str:
    """Write `sweep.json`, `sweep.csv` and `sweep.md`, the best trial first; the Markdown table is returned.

    The trials have scores, and settings of the same keys; `facts`, such as the objective, go into the JSON.
    """
    keys = [setting.partition("=")[0] for setting in trials[0].settings]
    rows = [[setting.partition("=")[2] for setting in trial.settings] for trial in trials]
    objective = str(facts["objective"])
    write_json(
        folder / "sweep.json",
        {
            **facts,
            "trials": [
                {
                    "set": list(trial.settings),
                    "mean": trial.spread.mean,
                    "std": trial.spread.std if len(trial.scores) > 1 else None,
                    "scores": {str(s.seed): value for s, value in zip(trial.stages, trial.scores, strict=True)},
                    "stages": [stage.directory.name for stage in trial.stages],
                }
                for trial in trials
            ],
        },
    )
    lines = [
        [*row, stage.seed, f"{score:.4f}"]
        for row, trial in zip(rows, trials, strict=True)
        for stage, score in zip(trial.stages, trial.scores, strict=True)
    ]
    table = grid([*keys, objective], [[*row, str(t.spread)] for row, t in zip(rows, trials, strict=True)])
    write_text(folder / "sweep.csv", csv_text([[*keys, "seed", objective], *lines]))
    write_text(folder / "sweep.md", table)
    return table
