"""`gkd run --probe N`: a few real steps of every stage, and nothing left behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gkd_lightning.chain.execution import run_stage
from gkd_lightning.chain.trial_steps import expected_time, trials
from gkd_lightning.cli import main
from tests.chain.studies import plan_study, write_study

SHORT = {"data__num_workers": 0}


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.slow
def test_every_distinct_stage_is_timed_once(tmp_path: Path) -> None:
    """The child of a finished stage has its weights, that of an unfinished one those of the parent's trial."""
    plan = plan_study(write_study(tmp_path), tmp_path / "out", method=None, trainer__max_steps=20, **SHORT)
    run_stage(plan.stages[0])
    before = files(tmp_path)
    found = list(trials(plan, 2))
    assert files(tmp_path) == before
    assert [trial.stage for trial in found] == list(plan.stages)
    assert [(trial.stages, trial.left) for trial in found] == [(1, 0), (1, 1), (1, 1), (1, 1)]
    for trial in found:
        assert trial.images_per_second > 0
        assert 0 <= trial.waiting <= 1
        assert trial.peak_bytes > 10e6
        assert trial.seconds == pytest.approx(20 * 4 / trial.images_per_second)
    assert [len(trial.untrained) for trial in found] == [0, 0, 1, 0]
    assert "with weights of no use from domain_agnostic-" in str(found[2])
    assert expected_time(found).startswith("all 4 stages one after another: less than a minute")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run", str(write_study(tmp_path)), "--methods", "none", "--out", str(tmp_path / "out"), "--seeds", "0,1"]
    command += ["--set", "data.num_workers=0"]
    assert main([*command, "--probe", "1"]) == 0
    line, last = capsys.readouterr().out.splitlines()[-2:]
    assert re.match(
        r"task-\w{12} +\d+\.\d img/s +\d+\.\d\d GB peak \(\d+\.\d\d estimated\) +\d+% waiting for data "
        r" .* each, 2 like it$",
        line,
    )
    assert last.startswith("all 2 stages one after another: ")
    assert not (tmp_path / "out").exists()
    for wrong, complaint in (
        (["0"], "--probe 0: give 1 or more"),
        (["1", "--dry-run"], "not together with --dry-run"),
        (["1", "--memory", "4"], "--memory: only together with --fit-batch"),
        (["1", "--fit-batch"], "--fit-batch: on a CPU say with --memory"),
    ):
        assert main([*command, "--probe", *wrong]) == 2
        assert complaint in capsys.readouterr().err
    assert main([*command, "--probe", "1", "--set", "trainer.max_steps=2"]) == 2
    assert "ended before 1 steps were timed" in capsys.readouterr().err
