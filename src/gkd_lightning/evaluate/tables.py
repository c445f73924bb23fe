"""Means and standard deviations over seeds per method and domain; runs judged differently are refused."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.results import Results, Role, RunResult
from gkd_lightning.evaluate.scores import (
    DomainScore,
    Measure,
    generalization_gap,
    in_domain,
    miou_of,
    share_recovered,
    unseen_mean,
)

OfClasses = Callable[[DomainScore], Sequence[float | None]]
"""A score of every class in percent."""


def iou_of(score: DomainScore) -> list[float | None]:
    """What is told of classes unless another is asked for."""
    return score.iou


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1) of one number over seeds; `std` is NaN for a single seed."""

    mean: float
    std: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of one value per seed; NaN if there is none or one of them is NaN."""
        numbers = tuple(values)
        if not numbers or any(math.isnan(number) for number in numbers):
            return cls(math.nan, math.nan, numbers)
        return cls(statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else math.nan, numbers)

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "–"
        return f"{round(self.mean, 1) + 0.0:.1f}" + ("" if math.isnan(self.std) else f" ± {self.std:.1f}")


@dataclass(frozen=True)
class Row:
    """One method over its seeds; all scores in percent or points of what the table is about, mIoU unless told."""

    method: str
    title: str
    role: Role
    seeds: tuple[int, ...]
    domains: dict[str, Spread]
    in_domain: Spread
    unseen: Spread
    gap: Spread
    recovered: Spread
    runs: tuple[RunResult, ...]


def table(results: Results, measure: Measure = miou_of) -> list[Row]:
    """One row per method, in the order of the runs, of the scores that `measure` gives.

    The share recovered is measured between the means over seeds of the first ``none`` and the first ``teacher`` row:
    further ones are that network trained in another way.

    Raises:
        UserError: the runs were not judged by one protocol.
    """
    check_comparable(results.runs)
    methods: dict[str, list[RunResult]] = {}
    for run in results.runs:
        methods.setdefault(run.method, []).append(run)
    unseen = {method: Spread.of(unseen_mean(run.domains, measure) for run in runs) for method, runs in methods.items()}
    ends: dict[str, float] = {}
    for method, runs in methods.items():
        ends.setdefault(runs[0].role, unseen[method].mean)
    none, teacher = ends.get("none", math.nan), ends.get("teacher", math.nan)
    return [
        Row(
            method=method,
            title=runs[0].title,
            role=runs[0].role,
            seeds=tuple(run.seed for run in runs),
            domains={
                score.domain: Spread.of(measure(run.domains[index]) for run in runs)
                for index, score in enumerate(runs[0].domains)
            },
            in_domain=Spread.of(in_domain(run.domains, measure) for run in runs),
            unseen=unseen[method],
            gap=Spread.of(generalization_gap(run.domains, measure) for run in runs),
            recovered=Spread.of(share_recovered(value, none, teacher) for value in unseen[method].values),
            runs=tuple(runs),
        )
        for method, runs in methods.items()
    ]


def unseen_domains(results: Results) -> list[str]:
    """Names of the domains that count in the unseen mean."""
    return [score.domain for score in results.runs[0].domains if not score.seen]


def class_means(row: Row, of: OfClasses = iou_of) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """Domain names, class names, and IoU (domains, classes) in percent, mean over seeds; NaN where never defined.

    `of` gives another score of a domain's classes.
    """
    scores = [run.domains for run in row.runs]
    classes = list(scores[0][0].classes)
    stack = np.array([[[np.nan if iou is None else iou for iou in of(d)] for d in run] for run in scores], float)
    counts = (~np.isnan(stack)).sum(0)
    means = np.where(counts > 0, np.nansum(stack, 0) / np.maximum(counts, 1), np.nan)
    return [score.domain for score in scores[0]], classes, means


def check_comparable(runs: Sequence[RunResult]) -> None:
    """Refuse runs that were judged differently: protocol, selection, domains, images or classes.

    Raises:
        UserError: names the first field that differs, both values and both runs.
    """
    if not runs:
        raise UserError("the results hold no run, nothing to compare")
    first = runs[0]
    expected = _judged_by(first)
    for run in runs[1:]:
        found = _judged_by(run)
        for key in [*expected, *(key for key in found if key not in expected)]:
            here, there = expected.get(key, "not set"), found.get(key, "not set")
            if here != there:
                raise UserError(
                    f"different protocols in a table: {key} is {here} for {first.method} seed {first.seed}, "
                    f"{there} for {run.method} seed {run.seed}; evaluate both in the same way"
                )


def _judged_by(run: RunResult) -> dict[str, Any]:
    facts = dict(_flat("protocol", run.protocol))
    facts["selection"] = run.selection
    facts["data"] = run.provenance.get("data.evaluated", {}).get("sha256", "not recorded")
    facts["domains"] = ", ".join(score.domain for score in run.domains)
    for score in run.domains:
        facts[f"{score.domain}.seen"] = score.seen
        facts[f"{score.domain}.images"] = score.images
        facts[f"{score.domain}.classes"] = ", ".join(score.classes)
    return facts


def _flat(name: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    else:
        yield name, list(value) if isinstance(value, tuple) else value  # JSON turns tuples into lists
