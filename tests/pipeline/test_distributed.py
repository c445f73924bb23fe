"""Two processes (gloo, CPU, bf16) follow the loss curve of one process with the same global batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from gkd_lightning.pipeline.chain import run_stages
from gkd_lightning.pipeline.logger import read_metrics
from gkd_lightning.pipeline.plan import Plan
from tests.pipeline.studies import plan_study, write_study


def losses(plan: Plan) -> dict[str, list[float]]:
    return {
        stage.name: [row["train/loss"] for row in read_metrics(stage.directory / "metrics.jsonl")]
        for stage in plan.stages
    }


@pytest.mark.slow
def test_two_processes_follow_one(tmp_path: Path) -> None:
    recipe = write_study(tmp_path)
    common = {"trainer__precision": "bf16-mixed", "data__num_workers": 0, "trainer__max_steps": 8}
    single = plan_study(recipe, tmp_path / "one", **common)
    double = plan_study(recipe, tmp_path / "two", trainer__devices=2, trainer__strategy="ddp", **common)
    run_stages(single)
    run_stages(double)
    expected, actual = losses(single), losses(double)
    assert {name: len(values) for name, values in actual.items()} == {name: 8 for name in expected}
    for name, values in expected.items():
        assert actual[name] == pytest.approx(values, rel=0.02), name
        assert max(values) - min(values) > 0.02 * max(values), "a flat curve would prove nothing"
    for one, two in zip(single.stages, double.stages, strict=True):
        costs = [(stage.manifest() or {})["costs"] for stage in (one, two)]
        assert costs[0]["images"] == costs[1]["images"] == 32
