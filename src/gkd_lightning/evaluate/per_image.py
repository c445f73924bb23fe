"""`per_image.npz`: what every image contributed to a domain's score, so that images can be drawn again later."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.confidence_levels import BINS
from gkd_lightning.files import atomic_write

PER_IMAGE = "per_image.npz"
"""Lies beside `results.json`."""
INTERSECTION, PREDICTED, TRUE = range(3)
"""Rows of an image's counts: a confusion matrix's diagonal, its columns' sums, its rows' sums."""


@dataclass(frozen=True, eq=False)
class ImageCounts:
    """Pixels of every image of one domain; ignored pixels count nowhere.

    Attributes:
        names: N image names, sorted.
        counts: uint32 (N, 3, C), see `INTERSECTION`, `PREDICTED`, `TRUE`.
        bins: int64 (N, BINS, 3), pixels by their confidence, see `trust.PIXELS`; None where it was not known.
        tempered: the same at the temperature that was fitted on the source, of the pixels that were looked at; None
            without one.
    """

    names: tuple[str, ...]
    counts: NDArray[np.uint32]
    bins: NDArray[np.int64] | None = None
    tempered: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.counts.ndim != 3 or self.counts.shape[:2] != (len(self.names), 3):
            raise ValueError(f"counts {self.counts.shape} do not fit {len(self.names)} images")
        for bins in (self.bins, self.tempered):
            if bins is not None and bins.shape != (len(self.names), BINS, 3):
                raise ValueError(f"bins {bins.shape} do not fit {len(self.names)} images")

    @classmethod
    def of(
        cls, names: Sequence[str], counts: NDArray[np.integer], bins: NDArray[np.int64] | None = None
    ) -> ImageCounts:
        """From names and counts in any order.

        Raises:
            UserError: a count that 32 bits cannot hold.
        """
        if counts.size and int(counts.max()) > np.iinfo(np.uint32).max:
            raise UserError(f"{names[0]}: an image of more than 2**32 pixels of one class cannot be counted")
        order = sorted(range(len(names)), key=names.__getitem__)  # whatever number of processes
        ordered = None if bins is None else bins[order]
        return cls(tuple(names[index] for index in order), counts[order].astype(np.uint32), ordered)

    def sums(self) -> NDArray[np.int64]:
        """Of the whole domain, int64 (3, C)."""
        return np.asarray(self.counts.sum(0, dtype=np.int64))


@dataclass(frozen=True)
class PerImage:
    """Counts by (method, seed) and domain; `save` and `load` keep them beside `results.json`."""

    runs: dict[tuple[str, int], dict[str, ImageCounts]] = field(default_factory=dict)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one compressed `.npz`, atomically; runs that were judged on the same images share their names."""
        arrays: dict[str, NDArray[np.generic]] = {}
        shared: dict[tuple[str, ...], int] = {}
        index: list[dict[str, str | int]] = []
        for (method, seed), domains in self.runs.items():
            for domain, found in domains.items():
                arrays[str(len(index))] = found.counts
                for part, bins in (("bins", found.bins), ("tempered", found.tempered)):
                    if bins is not None:
                        arrays[f"{len(index)}-{part}"] = bins
                names = shared.setdefault(found.names, len(shared))
                index.append({"method": method, "seed": seed, "domain": domain, "names": names})
        head = {"names": [list(names) for names in shared], "counts": index}
        arrays["index"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
        with atomic_write(path) as temporary, temporary.open("wb") as handle:
            np.savez_compressed(handle, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> PerImage:
        """Inverse of `save`; never opens a pickle. Raises UserError for a file that is not one of ours."""
        runs: dict[tuple[str, int], dict[str, ImageCounts]] = {}
        try:
            with np.load(Path(path), allow_pickle=False) as arrays:
                head = json.loads(arrays["index"].tobytes())
                names = [tuple(part) for part in head["names"]]
                for number, entry in enumerate(head["counts"]):
                    bins = (arrays.get(f"{number}-{part}") for part in ("bins", "tempered"))  # which older files lack
                    counts = ImageCounts(names[entry["names"]], arrays[str(number)], *bins)
                    runs.setdefault((entry["method"], entry["seed"]), {})[entry["domain"]] = counts
        except (OSError, ValueError, KeyError, IndexError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: no counts per image ({error}); judge again: gkd run … --from evaluate") from None
        return cls(runs)


def merge_per_image(parts: Iterable[PerImage]) -> PerImage:
    """The counts of all parts; of a method and seed that several hold, the first stays."""
    runs: dict[tuple[str, int], dict[str, ImageCounts]] = {}
    for part in parts:
        for run, domains in part.runs.items():
            runs.setdefault(run, domains)
    return PerImage(runs)


def load_beside(results: Path) -> PerImage | None:
    """The counts beside a `results.json`; None if it was written before there were any."""
    path = results.with_name(PER_IMAGE)
    return PerImage.load(path) if path.is_file() else None
