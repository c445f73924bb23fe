"""A real Ctrl-C, SIGTERM or lost terminal on a running chain: one line, status 130, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gkd_lightning.cli import main
from tests.chain.terminal import press_ctrl_c
from tests.chain.toys import CONFIG

RECIPE = "name: toy\ncommon: {configs: [toy.yaml]}\nmethods: {one: {stages: [{name: first}]}}\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_a_chain(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "toy.yaml").write_text(CONFIG.replace("max_steps: 13", "max_steps: 100000"))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    arguments = ["run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "out")]
    status, lines = press_ctrl_c(arguments, lambda: bool(list(tmp_path.glob("out/stages/*/resume.ckpt"))), number)
    assert status == 130
    assert lines == [f"gkd: interrupted, resume with: gkd {' '.join(arguments)}"]
    (directory,) = (tmp_path / "out/stages").iterdir()
    assert not (directory / "done.json").exists()
    assert not list(directory.glob(".*.partial"))
    assert main([*arguments, "--dry-run"]) == 0


@pytest.mark.slow
def test_sigterm_reaches_the_children_of_jobs(tmp_path: Path) -> None:
    """Each writes a checkpoint and ends; none trains on as an orphan."""
    (tmp_path / "toy.yaml").write_text(CONFIG.replace("max_steps: 13", "max_steps: 100000"))
    recipe = RECIPE.replace("methods: {one:", "seeds: [0, 1]\nmethods: {one:")
    (tmp_path / "recipe.yaml").write_text(recipe)
    arguments = ["run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "out"), "--jobs", "2"]
    ready = "out/stages/*/resume.ckpt"
    status, lines = press_ctrl_c(arguments, lambda: len(list(tmp_path.glob(ready))) == 2, signal.SIGTERM)
    assert status == 130
    assert lines[-1].startswith("gkd: interrupted, resume with: ")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/stages/*/metrics.jsonl")}
    time.sleep(2)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/stages/*/metrics.jsonl")} == before
    assert len(before) == 2


@pytest.mark.slow
def test_output_that_nobody_reads_stops_no_work(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(CONFIG)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    arguments = ["run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "gkd_lightning", *arguments]
    reading, writing = os.pipe()
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=writing, stderr=subprocess.PIPE) as running:
        os.close(writing)
        os.close(reading)  # gone before the first line
        _, errors = running.communicate(timeout=280)
    assert (running.returncode, errors) == (0, b"")
    (done,) = tmp_path.glob("out/stages/*/done.json")
    assert json.loads(done.read_text())["stage"] == "first"
