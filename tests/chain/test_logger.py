"""Logs survive a kill and a resumption; W&B and TensorBoard write beside them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gkd_lightning.chain.logger import RunLogger, read_metrics
from gkd_lightning.chain.stage_cli import StageCLI
from tests.chain.toys import CONFIG


def test_a_resumed_run_drops_the_rows_that_it_writes_again(tmp_path: Path) -> None:
    first = RunLogger(tmp_path)
    for step in range(0, 50, 10):
        first.log_metrics({"train/loss": 1.0 * step}, step)
    with (tmp_path / "metrics.jsonl").open("a") as handle:
        handle.write('{"step": 50, "train/lo')  # killed in the middle of a line
    again = RunLogger(tmp_path)
    again.log_metrics({"train/loss": 0.5, "val/night/miou": float("nan")}, 30)
    again.finalize("success")
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["train/loss"]) for row in rows] == [(0, 0.0), (10, 10.0), (20, 20.0), (30, 0.5)]
    assert rows[-1]["val/night/miou"] is None
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines[0] == "step,seconds,train/loss,val/night/miou"
    assert len(lines) == 5


def test_an_interrupted_run_leaves_the_lines_but_no_table(tmp_path: Path) -> None:
    logger = RunLogger(tmp_path)
    logger.log_metrics({"a": 1.0}, 0)
    logger.finalize("failed")
    assert not (tmp_path / "metrics.csv").exists()
    assert read_metrics(tmp_path / "nowhere.jsonl") == []


LOGGERS = {
    "WandbLogger": "{project: gkd, save_dir: LOGS, offline: true}",
    "TensorBoardLogger": "{save_dir: LOGS, name: gkd}",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOGGERS)
def test_other_loggers_write_beside_ours(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_SILENT", "true")
    (tmp_path / "logs").mkdir()
    logger = f"logger: [{{class_path: lightning.pytorch.loggers.{name}, init_args: {LOGGERS[name]}}}]"
    logger = logger.replace("LOGS", str(tmp_path / "logs"))  # W&B's service keeps the folder that the first test was in
    (tmp_path / "toy.yaml").write_text(CONFIG.replace("trainer: {", f"trainer: {{{logger}, "))
    StageCLI(["--config", "toy.yaml", "--trainer.default_root_dir", "run"]).run()
    assert len(read_metrics("run/metrics.jsonl")) == 13
    assert json.loads(Path("run/costs.json").read_text())["steps"] == 13
    written = [path for path in Path("logs").rglob("*") if path.is_file() and path.stat().st_size > 0]
    assert any(path.suffix == ".wandb" or "tfevents" in path.name for path in written), written
