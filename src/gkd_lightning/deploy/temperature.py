"""The temperature of confidence: none, a number, or the one that a segmenter's evaluation fitted on the source."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Literal

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import RESULTS, Results, RunResult, runs_above
from gkd_lightning.files import canonical_hash

AUTO: Literal["auto"] = "auto"
LEAST, MOST = 0.1, 100.0


def checked_temperature(asked: float | str | None) -> float | Literal["auto"] | None:
    """What was asked for, before any work: a number that makes sense, ``auto``, or nothing.

    Raises:
        UserError: it is none of them.
    """
    if asked is None or asked == AUTO:
        return None if asked is None else AUTO
    try:
        number = float(asked)
    except ValueError:
        number = math.nan
    if not LEAST <= number <= MOST:
        raise UserError(f"--temperature {asked}: give {AUTO}, or a number from {LEAST:g} to {MOST:g}; 1 is as it is")
    return number


def chosen_temperature(asked: float | str | None, path: str | Path, record: dict[str, Any]) -> float:
    """The temperature that confidence is given at.

    Args:
        asked: a number; ``auto`` for what the run's results say of these very weights; None takes the record's own,
            which an export may have, else 1: confidence as it is.
        path: of the segmenter or the export; results are looked for in its folder and those above it.
        record: `segmenter.json` or `export.json`.

    Raises:
        UserError: a number that makes no sense; or no results of these weights, or without a temperature.
    """
    found = checked_temperature(asked)
    if found is None:
        return float(record.get("temperature", 1))
    return _fitted(Path(path), _digests(record)) if isinstance(found, str) else found


def _digests(record: dict[str, Any]) -> list[str]:
    """By which results know what was judged: an export of itself, or the segmenter that it was made of."""
    if "source" in record:
        return [canonical_hash(record["files"]), str(record["source"]["sha256"])]
    return [str(record["sha256"])]


def _fitted(path: Path, digests: Collection[str]) -> float:
    folders = runs_above((path if path.is_dir() else path.parent) / RESULTS)
    if not folders:
        raise UserError(f"--temperature {AUTO}: no {RESULTS} in the folder of {path} or above it; give a number")
    judged = [run for folder in folders for run in Results.load(folder).runs]
    own = [run for digest in digests for run in judged if run.artefact == digest]
    if not own:
        looked = ", ".join(str(folder / RESULTS) for folder in folders)
        raise UserError(f"--temperature {AUTO}: {looked}: of other weights than {path}; judge these, or give a number")
    found = fitted_temperature(own)
    if found is None:
        raise UserError(
            f"--temperature {AUTO}: the results of {path} have none: it is fitted where a domain of the source is "
            "judged (`seen`); judge again with `gkd run … --from evaluate`, or give a number"
        )
    return found


def fitted_temperature(runs: Iterable[RunResult]) -> float | None:
    """The first that the evaluation of one of these runs fitted on its source; None if none did."""
    return next((score.tempered.temperature for run in runs for score in run.domains if score.tempered), None)
