"""The rows of a finished run on disk: where each one's segmenter, configuration and results lie."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gkd_lightning.evaluate import RESULTS, Results, RunResult
from gkd_lightning.recipes import arguments, read_yaml

CONFIGURATION = "test.yaml"


@dataclass(frozen=True)
class JudgedRow:
    """One method and seed.

    Attributes:
        run: what was found.
        evaluation: folder of the evaluation that found it, with `test.yaml`; None if it is gone.
        checkpoint: `segmenter.safetensors`; None if it is gone.
    """

    run: RunResult
    evaluation: Path | None
    checkpoint: Path | None


def judged_rows(folder: Path) -> list[JudgedRow]:
    """Every method and seed of a run's folder.

    Raises:
        UserError: it holds no results.
    """
    evaluations = sorted(folder.glob(f"evaluations/*/{CONFIGURATION}"))
    judged = [(path.parent, each) for path in evaluations for each in _runs(path.with_name(RESULTS))]
    rows = []
    for run in Results.load(folder / RESULTS).runs:
        places = [place for place, each in judged if each.same_as(run)]
        place = places[-1] if places else None
        rows.append(JudgedRow(run, place, _checkpoint(folder, place, run.artefact)))
    return rows


def _runs(path: Path) -> list[RunResult]:
    return Results.load(path).runs if path.is_file() else []


def _checkpoint(folder: Path, evaluation: Path | None, digest: str | None) -> Path | None:
    """The run may have been moved since, or keep its stages in a store."""
    named = [] if evaluation is None else [Path(_model(evaluation)["segmenter"])]
    for weights in (*named, *sorted(folder.glob("stages/*/segmenter.safetensors"))):
        try:
            record = json.loads(weights.with_name("segmenter.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if weights.is_file() and digest is not None and record.get("sha256") == digest:
            return weights
    return None


def _model(evaluation: Path) -> dict[str, Any]:
    return dict(arguments(read_yaml(evaluation / CONFIGURATION), "model"))
