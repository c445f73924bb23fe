"""Counts per image of several runs side by side, image by image: checked, not assumed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.image_counter import margins_of
from gkd_lightning.evaluate.per_image import TRUE, ImageCounts, PerImage
from gkd_lightning.evaluate.results import Results, RunResult
from gkd_lightning.evaluate.scores import DomainScore


@dataclass(frozen=True, eq=False)
class Paired:
    """The unseen domains' counts of every run.

    Attributes:
        counts: by domain and method, one uint32 (N, 3, C) per seed; image n is the same in all of a domain.
        missing: runs whose counts were not kept, such as ``gkd seed 0``; their methods are left out of `counts`.
    """

    counts: dict[str, dict[str, list[NDArray[np.uint32]]]]
    missing: tuple[str, ...] = ()

    @property
    def methods(self) -> set[str]:
        """Ids of the methods whose counts are here."""
        return {method for runs in self.counts.values() for method in runs}

    @property
    def images(self) -> dict[str, int]:
        """Number of images by domain."""
        return {domain: len(next(iter(runs.values()))[0]) for domain, runs in self.counts.items() if runs}


def pair(results: Results, per_image: PerImage) -> Paired:
    """Match the runs of one table (see `check_comparable`) on every unseen domain.

    Raises:
        UserError: counts that do not sum to a run's confusion matrix, or runs that were not judged on the same images
            and labels; names the image.
    """
    lacking = [run for run in results.runs if _lacks(run, per_image)]
    without = {run.method for run in lacking}
    paired: dict[str, dict[str, list[NDArray[np.uint32]]]] = {}
    for index, score in enumerate(results.runs[0].domains):
        if score.seen:
            continue
        methods = paired.setdefault(score.domain, {})
        first: tuple[str, ImageCounts] | None = None
        for run in (run for run in results.runs if run.method not in without):
            name, counts = _name(run), per_image.runs[run.method, run.seed][score.domain]
            _check_sums(name, run.domains[index], counts)
            first = first or (name, counts)
            check_same_images(score.domain, first, (name, counts))
            methods.setdefault(run.method, []).append(counts.counts)
    return Paired(paired, tuple(_name(run) for run in lacking))


def _lacks(run: RunResult, per_image: PerImage) -> bool:
    kept = per_image.runs.get((run.method, run.seed), {})
    return any(score.domain not in kept for score in run.domains if not score.seen)


def _name(run: RunResult) -> str:
    return f"{run.method} seed {run.seed}"


def _check_sums(run: str, score: DomainScore, found: ImageCounts) -> None:
    if not np.array_equal(found.sums(), margins_of(score.matrix).numpy()):
        raise UserError(
            f"{run}, {score.domain}: the counts per image do not sum to the confusion matrix in results.json, the two "
            "files do not belong together: judge again with `gkd run … --from evaluate`"
        )
    if len(set(found.names)) < len(found.names):
        twin = next(name for name, after in zip(found.names, found.names[1:], strict=False) if name == after)
        raise UserError(f"{run}, {score.domain}: two images are called {twin}, so images cannot be paired; rename one")


def check_same_images(domain: str, first: tuple[str, ImageCounts], second: tuple[str, ImageCounts]) -> None:
    """Refuse counts of other images, or of other labels; each comes with what to call it.

    Raises:
        UserError: names the image.
    """
    (here, ours), (there, theirs) = first, second
    if ours.names != theirs.names:
        common = set(ours.names) & set(theirs.names)
        if not common:
            raise UserError(f"{domain}: {here} and {there} have no image in common; judge both on the same images")
        lone = min(set(ours.names) ^ set(theirs.names))
        owner, other = (here, there) if lone in ours.names else (there, here)
        raise UserError(f"{domain}: image {lone} was judged for {owner} but not for {other}; judge both on the same")
    differ = (ours.counts[:, TRUE] != theirs.counts[:, TRUE]).any(1)
    if differ.any():
        name = ours.names[int(differ.argmax())]
        raise UserError(f"{domain}: the label of {name} is not the same for {here} and {there}; judge both on the same")
