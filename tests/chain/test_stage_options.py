"""Null on the command line, at any depth and beside other options of the same key."""

from __future__ import annotations

from pathlib import Path

import pytest

from gkd_lightning.chain.config_check import UnbuiltStage
from gkd_lightning.chain.stage_options import nulls
from tests.chain.toys import CONFIG


@pytest.mark.parametrize(
    ("options", "cleared", "others"),
    [
        ("--model.student.weights=null --model.alpha=2", ["model.student.weights"], "--model.alpha=2"),
        ("--model.student.weights None --title x", ["model.student.weights"], "--title x"),
        ("--data.workers=1 --data.workers=~", ["data.workers"], ""),
        ("--data.workers=~ --data.workers=1", [], "--data.workers=1"),
        ("--model.student.name=a --model.student=null", ["model.student"], ""),
        ("--model.student=null --model.student.name=a", ["model.student"], "--model.student.name=a"),
        ("--model.student_of=a --model.student=null", ["model.student"], "--model.student_of=a"),
        ("--trainer.callbacks+=A --trainer.callbacks+=B", [], "--trainer.callbacks+=A --trainer.callbacks+=B"),
        ("--ckpt_path null --quiet --trainer.devices -1", [], "--ckpt_path null --quiet --trainer.devices -1"),
    ],
)
def test_what_is_cleared(options: str, cleared: list[str], others: str) -> None:
    assert nulls(options.split()) == (cleared, others.split())


@pytest.mark.parametrize("word", ["null", "None"])
def test_null_inside_a_section_of_a_section(word: str, tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    path.write_text(CONFIG.replace("student: {name: toy}", "student: {name: toy, weights: a.safetensors}"))
    for options in ([f"--model.student.weights={word}"], ["--model.student.weights", word]):
        stage = UnbuiltStage(["--config", str(path), *options, "--model.alpha=3"])
        assert stage.config["model.init_args.student"]["weights"] is None
        assert stage.config["model.init_args.alpha"] == 3
    last = UnbuiltStage(["--config", str(path), f"--model.student.weights={word}", "--model.student.weights=b"])
    assert last.config["model.init_args.student"]["weights"] == "b"
