"""`gkd latency`: which models to time, on which images, and the results that their milliseconds go into."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.chain.judging.judged_rows import CONFIGURATION, JudgedRow, judged_rows
from gkd_lightning.data import evenly
from gkd_lightning.deploy import EXPORT_RECORD, Candidate, measure
from gkd_lightning.errors import UserError, nearest
from gkd_lightning.evaluate import RESULTS, Latency, Results, RunResult, runs_above, with_latencies
from gkd_lightning.files import write_json
from gkd_lightning.recipes import arguments, datasets_of, read_yaml

IMAGES = 8
"""Different ones, taken in turns."""


@dataclass(frozen=True)
class Timed:
    """A model with its times.

    Attributes:
        candidate: the model.
        latencies: one of each number of threads.
        homes: `results.json` files that they were written into.
    """

    candidate: Candidate
    latencies: list[Latency]
    homes: list[Path]


@dataclass(frozen=True)
class _Known:
    """A model, and where it is a row: files, method and seed there, configuration that judged it."""

    candidate: Candidate
    homes: tuple[Path, ...] = ()
    run: RunResult | None = None
    judged_by: Path | None = None


def time_models(
    places: Sequence[Path],
    *,
    size: tuple[int, int] | None = None,
    domain: str | None = None,
    threads: Sequence[int] = (),
    device: str = "cpu",
    count: int = 100,
    out: Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> list[Timed]:
    """Time models in turns and write their `Latency` into the results of the runs that they belong to.

    Args:
        places: runs (of each method the first seed), exports, checkpoints.
        size: (height, width) of images of noise; None takes images that the run was judged on.
        domain: whose images, and whose protocol; None takes the first unseen one.
        threads: see `measure`.
        device: see `measure`.
        count: see `measure`.
        out: a JSON file for all of it, and the only one where a model belongs to no run.
        tell: see `measure`.

    Raises:
        UserError: before anything is timed: no model there, none that belongs to a run without `out`, no images.
    """
    models = list({each.candidate.path.resolve(): each for place in places for each in _models(place)}.values())
    homeless = next((each.candidate for each in models if not each.homes), None)
    if homeless is not None and out is None:
        judged = "gkd test RUN EXPORT judges it" if homeless.path.is_dir() else "it belongs to no run"
        raise UserError(f"{homeless.path}: no {RESULTS} for its numbers ({judged}); or give --out FILE")
    if out is not None and out.is_dir():
        raise UserError(f"--out {out}: a folder, name a file")
    if device != "cpu" and (export := next((m.candidate for m in models if m.candidate.path.is_dir()), None)):
        raise UserError(f"--device {device}: an export computes on the CPU, leave out {export.path}")
    domain, images = _images(models, size, domain)
    found = measure(
        [each.candidate for each in models], images, domain, threads=threads, device=device, count=count, tell=tell
    )
    timed = [Timed(each.candidate, row, list(each.homes)) for each, row in zip(models, found, strict=True)]
    for each, row in zip(models, found, strict=True):
        for home in each.homes:
            _write(home, each, row)
    if out is not None:
        rows = [
            {"title": each.candidate.title, "source": each.candidate.source, "path": str(each.candidate.path),
             "latencies": [latency.asdict() for latency in each.latencies]}
            for each in timed
        ]  # fmt: skip
        write_json(out, {"schema": 1, "rows": rows})
    return timed


def _models(place: Path) -> list[_Known]:
    if (place / EXPORT_RECORD).is_file():
        results = place / RESULTS
        run = Results.load(results).runs[0] if results.is_file() else None
        candidate = Candidate.at(place, run.title if run else None)
        configuration = place / CONFIGURATION
        return [_Known(candidate, (results,) if run else (), run, configuration if configuration.is_file() else None)]
    folder = place.parent if place.name == RESULTS else place
    if (folder / RESULTS).is_file():
        first = {row.run.method: row for row in reversed(judged_rows(folder))}
        found = [_of_row(folder, row) for row in reversed(first.values()) if row.checkpoint is not None]
        if not found:
            raise UserError(f"{folder}: none of its rows has its segmenter here; give the runs that trained them")
        return found
    candidate = Candidate.at(place)
    for folder in runs_above(candidate.path)[:1]:
        for row in judged_rows(folder):
            if row.run.artefact == candidate.source:
                return [_of_row(folder, row, candidate)]
    return [_Known(candidate)]


def _of_row(folder: Path, row: JudgedRow, candidate: Candidate | None = None) -> _Known:
    homes = [folder / RESULTS] + ([] if row.evaluation is None else [row.evaluation / RESULTS])
    if candidate is None:
        assert row.checkpoint is not None
        candidate = Candidate.at(row.checkpoint)
    configuration = None if row.evaluation is None else row.evaluation / CONFIGURATION
    return _Known(replace(candidate, title=row.run.title), tuple(homes), row.run, configuration)


def _images(
    models: Sequence[_Known], size: tuple[int, int] | None, domain: str | None
) -> tuple[str | None, NDArray[np.uint8]]:
    """Name of the domain, and its images (n, H, W, 3)."""
    configuration = next((each.judged_by for each in models if each.judged_by is not None), None)
    if size is not None:
        noise = np.random.default_rng(0).integers(0, 256, (IMAGES, *size, 3), dtype=np.uint8)
        return domain, noise
    if configuration is None:
        raise UserError(f"--size: {models[0].candidate.path} belongs to no run, say how large your images are")
    datasets = datasets_of(str(configuration))
    if domain is not None and domain not in datasets:
        raise UserError(
            f"--domain {domain}: not judged on it{nearest(domain, datasets)} (domains: {', '.join(datasets)})"
        )
    seen = arguments(read_yaml(configuration), "data").get("seen") or ()
    chosen = domain or next((name for name in datasets if name not in seen), next(iter(datasets)))
    dataset = datasets[chosen]
    found = [dataset.image(index) for index in evenly(dataset, IMAGES)]
    return chosen, np.stack([image for image in found if image.shape == found[0].shape])


def _write(home: Path, model: _Known, latencies: Sequence[Latency]) -> None:
    assert model.run is not None
    results, key = Results.load(home), (model.run.method, model.run.seed)

    def runs() -> Iterator[RunResult]:
        for run in results.runs:
            mine = (run.method, run.seed) == key
            yield replace(run, latencies=with_latencies(run.latencies, latencies)) if mine else run

    replace(results, runs=list(runs())).save(home)
