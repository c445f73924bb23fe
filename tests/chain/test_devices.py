"""Devices of a stage, and batches that they cannot share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gkd_lightning.chain.execution import check_plan
from gkd_lightning.chain.plan import make_plan
from gkd_lightning.chain.stage import Layout
from gkd_lightning.errors import UserError
from gkd_lightning.recipes.benchmark import load_benchmark
from tests.chain.studies import plan_study, write_study


@pytest.mark.parametrize(
    ("asked", "found"), [(1, 1), (2, 2), ("0,1", 2), ("1,", 1), ([0, 1], 2), ("3", 3), ("many", 1), ("auto", 4)]
)
def test_devices(asked: object, found: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert Layout.read({"trainer": {"devices": asked}}).devices_here == found
    assert Layout.read({"trainer": {"devices": "auto", "accelerator": "cpu"}}).devices_here == 1


def test_a_batch_that_the_last_stage_cannot_share_is_told_before_the_first(tmp_path: Path) -> None:
    plan = plan_study(write_study(tmp_path), tmp_path / "out", **{"task:trainer__num_nodes": 3})
    with pytest.raises(UserError, match=r"stage task of gkd: batch_size: the global batch of 4 .* by 3 devices"):
        check_plan(plan)


@pytest.mark.parametrize("count", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("family", ["f2l", "f2f"])
def test_benchmarks_run_on_any_usual_number_of_gpus(
    family: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    for part in load_benchmark(family):
        plan = make_plan(part.recipe, tmp_path)
        for stage in plan.stages:
            stage.what.check()
            assert stage.what.layout.devices_here == (1 if stage.name == "task" else count)
