"""A real Ctrl-C on a running chain: one line, status 130, and the same command goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gkd_lightning.cli import main
from tests.pipeline.toys import CONFIG

RECIPE = "name: toy\ncommon: {configs: [toy.yaml]}\nmethods: {one: {stages: [{name: first}]}}\n"


@pytest.mark.slow
def test_ctrl_c_in_a_chain(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(CONFIG.replace("max_steps: 13", "max_steps: 100000"))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    arguments = ["run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        [sys.executable, "-m", "gkd_lightning.cli", *arguments],
        cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # a suite started in the background ignores Ctrl-C, and so would what it starts
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as running:  # fmt: skip
        deadline = time.monotonic() + 200
        while not list(tmp_path.glob("out/stages/*/resume.ckpt")):
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert errors.splitlines() == [f"gkd: interrupted, resume with: gkd {' '.join(arguments)}"]
    (directory,) = (tmp_path / "out/stages").iterdir()
    assert not (directory / "done.json").exists()
    assert not list(directory.glob(".*.partial"))
    assert main([*arguments, "--dry-run"]) == 0
