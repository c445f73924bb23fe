"""Confidence of every method on every domain, over seeds and over images: what a report shows of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.bootstrap import RESAMPLES, Interval, Scores, drawn
from gkd_lightning.evaluate.per_image import PerImage
from gkd_lightning.evaluate.results import Results
from gkd_lightning.evaluate.tables import Row, Spread, table
from gkd_lightning.evaluate.tempering import TEMPERED_COLUMNS, Tempered
from gkd_lightning.evaluate.trust import TRUST_COLUMNS, Counts, Numbers, Trust, calibration_error

Bins = tuple[tuple[int, int, int], ...]
Part = Literal["bins", "tempered"]
"""Of `ImageCounts`."""


@dataclass(frozen=True, eq=False)
class DomainTrust:
    """One method on one domain.

    Attributes:
        domain: its name.
        seen: whether it is the source.
        accuracy: share of right pixels in percent, over seeds.
        confidence: mean confidence in percent, over seeds.
        scores: by the names of `TRUST_COLUMNS`, over seeds; NaN where a seed has none.
        interval: of ECE over the images, mean over seeds; None where counts per image were not kept.
        bins: int64 (BINS, 3), sums over seeds, see `trust.PIXELS`.
        risk: float64 (100,), mean over seeds of the share of errors in percent at every percent of coverage.
        tempered: by the names of `TEMPERED_COLUMNS`, over seeds; None where a seed has no temperature.
        tempered_bins: as `bins`, at the temperature, of the pixels that were looked at.
        tempered_interval: of ECE at the temperature, of the same draws as `interval`.
    """

    domain: str
    seen: bool
    accuracy: Spread
    confidence: Spread
    scores: dict[str, Spread]
    interval: Interval | None
    bins: Counts
    risk: Numbers
    tempered: dict[str, Spread] | None = None
    tempered_bins: Counts | None = None
    tempered_interval: Interval | None = None


def trust_table(
    results: Results, per_image: PerImage | None = None, resamples: int = RESAMPLES
) -> list[tuple[Row, list[DomainTrust]]]:
    """The methods whose confidence was judged on every domain and with every seed, in the order of the runs.

    Raises:
        UserError: runs of different protocols, or counts per image that are not those of the results.
    """
    found = []
    for row in table(results):
        places = range(len(row.runs[0].domains))
        every = [[run.domains[place].trust for run in row.runs] for place in places]
        seeds = [[each for each in trusts if each is not None] for trusts in every]
        if all(len(kept) == len(row.runs) for kept in seeds) and seeds:
            found.append((row, [_of(row, place, seeds[place], per_image, resamples) for place in places]))
    return found


def _of(row: Row, place: int, seeds: list[Trust], per_image: PerImage | None, resamples: int) -> DomainTrust:
    domain = row.runs[0].domains[place]
    values = {name: [getattr(each, name) for each in seeds] for name in TRUST_COLUMNS}
    warm = [found for run in row.runs if (found := run.domains[place].tempered) is not None]
    known = len(warm) == len(row.runs)
    return DomainTrust(
        domain=domain.domain,
        seen=domain.seen,
        accuracy=Spread.of(run.domains[place].accuracy for run in row.runs),
        confidence=Spread.of(each.confidence for each in seeds),
        scores={name: Spread.of(np.nan if value is None else value for value in each) for name, each in values.items()},
        interval=_interval(row, place, [each.bins for each in seeds], per_image, resamples, "bins"),
        bins=np.sum([each.bins for each in seeds], axis=0, dtype=np.int64),
        risk=np.mean([each.risk for each in seeds], axis=0),
        tempered=_spreads(warm) if known else None,
        tempered_bins=np.sum([each.bins for each in warm], axis=0, dtype=np.int64) if known else None,
        tempered_interval=(
            _interval(row, place, [each.bins for each in warm], per_image, resamples, "tempered") if known else None
        ),
    )


def _spreads(seeds: list[Tempered]) -> dict[str, Spread]:
    return {name: Spread.of(getattr(each, name) for each in seeds) for name in TEMPERED_COLUMNS}


def _interval(
    row: Row,
    place: int,
    sums: list[Bins],
    per_image: PerImage | None,
    resamples: int,
    part: Part,
) -> Interval | None:
    """Of ECE over a domain's images; `sums` are those of every seed, which `ImageCounts` has image by image."""
    kept: list[NDArray[np.int64]] = []
    names: set[tuple[str, ...]] = set()
    for run, total in zip(row.runs, sums, strict=True):
        domain = run.domains[place].domain
        images = None if per_image is None else per_image.runs.get((run.method, run.seed), {}).get(domain)
        bins = None if images is None else getattr(images, part)
        if images is None or bins is None:
            return None
        if not np.array_equal(bins.sum(0), total):
            raise UserError(
                f"{run.method} seed {run.seed}, {domain}: the confidence of each image does not sum to that in "
                "results.json, the two files do not belong together: judge again with `gkd run … --from evaluate`"
            )
        names.add(images.names)
        kept.append(bins)
    if len(names) != 1:
        return None
    parts = drawn(len(kept[0]), resamples, np.random.default_rng([0, place]))
    return Interval.of(
        np.concatenate([np.mean([weighted_error(weights, bins) for bins in kept], axis=0) for weights in parts])
    )


def weighted_error(weights: NDArray[np.int64], bins: NDArray[np.int64]) -> Scores:
    """ECE in percent, float64 (R,), when image n of (N, BINS, 3) `bins` counts `weights[r, n]` times."""
    images, count, columns = bins.shape
    # float64 holds whole numbers up to 2**53 exactly: sums of confidence of 7e10 pixels
    sums = weights.astype(np.float64) @ bins.reshape(images, count * columns).astype(np.float64)
    return calibration_error(sums.reshape(-1, count, columns))
