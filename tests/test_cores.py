"""How many cores a process has, and how many of them load data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gkd_lightning import cores as module
from gkd_lightning.cores import cores, loading_processes


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bound to twelve cores, without a container's quota."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(12)), raising=False)
    monkeypatch.setattr(module, "_quota", lambda: None)


def test_a_process_takes_the_cores_it_is_bound_to_and_no_more_than_it_is_given() -> None:
    assert cores({}) == 12
    assert cores({"SLURM_CPUS_PER_TASK": "6"}) == 6
    assert cores({"SLURM_CPUS_PER_TASK": "6", "GKD_CORES": "4"}) == 4
    assert cores({"GKD_CORES": "64"}) == 12


def test_a_containers_quota(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    for text, expected in (("250000 100000\n", 3), ("max 100000\n", None)):
        (tmp_path / "cpu.max").write_text(text)
        assert module._quota(tmp_path) == expected
    assert module._quota(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("processes", "given", "expected"), [(1, {}, 11), (2, {}, 5), (4, {}, 2), (12, {}, 1), (99, {}, 1)]
)
def test_each_process_keeps_a_core_for_itself(processes: int, given: dict[str, str], expected: int) -> None:
    assert loading_processes(processes, given) == expected


def test_there_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(128)), raising=False)
    assert loading_processes(1, {}) == 16
    assert loading_processes(8, {}) == 15
