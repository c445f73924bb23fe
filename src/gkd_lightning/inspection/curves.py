"""`gkd inspect gradients` of finished trainings: the cosine that `GradientConflict` has logged, over the steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gkd_lightning.chain import METRICS_JSONL, read_metrics
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import ENCODER
from gkd_lightning.inspection.output import write_findings
from gkd_lightning.inspection.sources import STAGES, apart, title_of, titled
from gkd_lightning.report import Training, training_png

_WHOLE, _NORMS = "conflict/cosine", ("conflict/norm_task", "conflict/norm_distillation")


def inspect_training(places: Sequence[str], out: str | Path) -> list[Path]:
    """Write ``conflict.png``, ``.csv`` and ``.json``.

    Args:
        places: folders of stages or of runs, each may be preceded by a title: ``KD=runs/x``.
        out: folder of the files.

    Raises:
        UserError: a place where nothing was logged.
    """
    trainings = [each for place in places for each in _trainings(place)]
    titles = apart([title for title, _ in trainings])
    found = {title: training for title, (_, training) in zip(titles, trainings, strict=True)}
    table = [
        {"training": title, "step": step, "part": part, "cosine": float(f"{cosine:.6g}")}
        for title, training in found.items()
        for part, points in training.cosines.items()
        for step, cosine in points
    ]
    record = {title: _summary(training) for title, training in found.items()}
    return write_findings(out, "conflict", training_png(found), table, record)


def _trainings(place: str) -> list[tuple[str, Training]]:
    title, path = titled(place)
    stages = [path] if (path / METRICS_JSONL).is_file() else sorted(path.glob(f"{STAGES}/*"))
    run = None if stages == [path] else path
    found = []
    for stage in stages:
        rows = [row for row in read_metrics(stage / METRICS_JSONL) if row.get(_WHOLE) is not None]
        if rows:
            found.append((title or title_of(stage, run), _training(rows)))
    if not found:
        problem = f"no {_WHOLE} in its {METRICS_JSONL}" if stages else "no training"
        raise UserError(
            f"{path}: {problem}; train with diagnostics/gradient_conflict.yaml, or give --data to measure checkpoints"
        )
    return found


def _training(rows: Sequence[dict[str, Any]]) -> Training:
    cosines: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        for key, value in row.items():
            if key.startswith("conflict/") and key.endswith("cosine") and value is not None:
                part = ENCODER if key == _WHOLE else key.split("/")[1]
                cosines.setdefault(part, []).append((int(row["step"]), float(value)))
    norms = [[(int(row["step"]), float(row[key])) for row in rows] for key in _NORMS]
    return Training(cosines, *norms)


def _summary(training: Training) -> dict[str, Any]:
    values = [cosine for _, cosine in training.cosines[ENCODER]]
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1))
    return {
        "measurements": len(values),
        "mean_cosine": round(mean, 4),
        "deviation": round(spread, 4),
        "lowest": round(min(values), 4),
        "share_below_zero": round(sum(value < 0 for value in values) / len(values), 4),
        "mean_cosine_by_part": {
            part: round(sum(value for _, value in points) / len(points), 4) for part, points in training.cosines.items()
        },
    }
