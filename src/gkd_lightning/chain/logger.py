"""Metrics on disk: `metrics.jsonl` while the run goes on, `metrics.csv` at its end."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from gkd_lightning.files import csv_text, write_text

METRICS_JSONL = "metrics.jsonl"
METRICS_CSV = "metrics.csv"


class RunLogger(Logger):
    """One line of JSON per logged step; safe to interrupt and to resume.

    Training is deterministic in its step count, so the first row after a resumption is a row that the
    interrupted run had written too. From there on the old rows are dropped.

    Args:
        directory: the run's folder.
    """

    def __init__(self, directory: str | Path) -> None:
        super().__init__()
        self.directory = Path(directory)
        self._continued = False
        self._begun = time.perf_counter()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.directory.name

    @property
    def version(self) -> str:
        """Empty: the folder is the identity of a run."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return str(self.directory)

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: `config.yaml` holds them."""

    @rank_zero_only  # type: ignore[untyped-decorator]
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row; a number that is not finite becomes null."""
        row: dict[str, Any] = {"step": step or 0, "seconds": round(time.perf_counter() - self._begun, 3)}
        for key, value in metrics.items():
            number = float(value)
            row[key] = number if math.isfinite(number) else None
        path = self.directory / METRICS_JSONL
        if not self._continued:
            self._continued = True
            self.directory.mkdir(parents=True, exist_ok=True)
            kept = [old for old in read_metrics(path) if old["step"] < row["step"]]
            write_text(path, "".join(json.dumps(old) + "\n" for old in kept))
        with path.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")

    @rank_zero_only  # type: ignore[untyped-decorator]
    def finalize(self, status: str) -> None:
        """Write the CSV: one column per metric, empty where a row does not have it."""
        rows = read_metrics(self.directory / METRICS_JSONL)
        if status != "success" or not rows:
            return
        columns = list(dict.fromkeys(key for row in rows for key in row))
        lines = ([row.get(column) for column in columns] for row in rows)
        write_text(self.directory / METRICS_CSV, csv_text([columns, *lines]))


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Rows of a `metrics.jsonl`; none if it is missing. A last line cut off by a kill is left out."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def finish_wandb(loggers: Sequence[Logger]) -> None:
    """End the W&B run, if there is one: the next stage of the same process would log into it."""
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        import wandb

        wandb.finish()
