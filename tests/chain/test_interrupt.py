"""A real Ctrl-C on a running chain: one line, status 130, and the same command goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from gkd_lightning.cli import main
from tests.chain.terminal import press_ctrl_c
from tests.chain.toys import CONFIG

RECIPE = "name: toy\ncommon: {configs: [toy.yaml]}\nmethods: {one: {stages: [{name: first}]}}\n"


@pytest.mark.slow
def test_ctrl_c_in_a_chain(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(CONFIG.replace("max_steps: 13", "max_steps: 100000"))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    arguments = ["run", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "out")]
    status, lines = press_ctrl_c(arguments, lambda: bool(list(tmp_path.glob("out/stages/*/resume.ckpt"))))
    assert status == 130
    assert lines == [f"gkd: interrupted, resume with: gkd {' '.join(arguments)}"]
    (directory,) = (tmp_path / "out/stages").iterdir()
    assert not (directory / "done.json").exists()
    assert not list(directory.glob(".*.partial"))
    assert main([*arguments, "--dry-run"]) == 0
