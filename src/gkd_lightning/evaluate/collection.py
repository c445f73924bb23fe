"""Several runs' results and counts per image read as one, for a table over all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.per_image import PerImage, load_beside, merge_per_image
from gkd_lightning.evaluate.results import RESULTS, Results, RunResult, merge


@dataclass(frozen=True)
class Collection:
    """Results, and the counts per image of those of their runs that kept them."""

    results: Results
    per_image: PerImage

    def only(self, methods: Iterable[str]) -> Collection:
        """The runs of these methods, in this order."""
        runs = [run for method in methods for run in self.results.runs if run.method == method]
        return replace(self, results=replace(self.results, runs=runs))

    @property
    def methods(self) -> list[str]:
        """Ids in the order of the runs."""
        return list(dict.fromkeys(run.method for run in self.results.runs))


def collect(paths: Iterable[Path]) -> Collection:
    """Read run folders or `results.json` files; a run that several of them hold counts once.

    Raises:
        UserError: a file is missing or not ours, or one method and seed stands for two different trainings.
    """
    parts, counts = [], []
    found: dict[tuple[str, int], tuple[Path, RunResult]] = {}
    for path in (path / RESULTS if path.is_dir() else path for path in paths):
        results, new = Results.load(path), []
        for run in results.runs:
            before = found.setdefault((run.method, run.seed), (path, run))
            if before[1] is run:
                new.append(run)
            elif not before[1].same_as(run):
                raise UserError(
                    f"{run.method} seed {run.seed} is in {before[0]} (artefact {_shown(before[1])}) and, not the "
                    f"same, in {path} (artefact {_shown(run)}): give only one of the two"
                )
        parts.append(replace(results, runs=new))
        counts.append(load_beside(path) or PerImage())
    return Collection(merge(parts), merge_per_image(counts))


def _shown(run: RunResult) -> str:
    return "unknown" if run.artefact is None else run.artefact[:12]
