"""The chain on one CUDA device in bf16 follows the chain on the CPU in fp32."""

from __future__ import annotations

from pathlib import Path

import pytest

from gkd_lightning.chain.execution import run_stages
from gkd_lightning.chain.logger import read_metrics
from gkd_lightning.chain.plan import Plan
from tests.chain.studies import plan_study, write_study

pytestmark = pytest.mark.gpu


def losses(plan: Plan) -> dict[str, list[float]]:
    return {
        stage.name: [row["train/loss"] for row in read_metrics(stage.directory / "metrics.jsonl")]
        for stage in plan.stages
    }


@pytest.mark.timeout(900)
def test_every_stage_follows_the_cpu(tmp_path: Path) -> None:
    recipe = write_study(tmp_path)
    common = {"trainer__max_steps": 8, "data__num_workers": 0}
    expected = plan_study(recipe, tmp_path / "cpu", **common)
    plan = plan_study(recipe, tmp_path / "gpu", trainer__accelerator="gpu", trainer__precision="bf16-mixed", **common)
    run_stages(expected)
    run_stages(plan)
    for name, curve in losses(expected).items():
        # the tolerances of two CPU processes in bf16 (test_distributed.py)
        assert losses(plan)[name] == pytest.approx(curve, rel=0.02 if name == "task" else 0.003), name
    for stage in plan.stages:
        assert (stage.manifest() or {})["costs"]["peak_memory_bytes"] > 0
