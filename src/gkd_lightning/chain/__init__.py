"""A plan carried out: stages planned, counted, trained, resumed, sent to a cluster; callbacks and judging beside it."""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.chain.cost import cost_summary
    from gkd_lightning.chain.data_changes import check_data_changes
    from gkd_lightning.chain.execution import check_plan, describe, link_stages, run_stage, run_stages, stages_from
    from gkd_lightning.chain.grid import (
        OBJECTIVE,
        Trial,
        check_objective,
        combinations,
        ranked,
        scored,
        trial_of,
        write_trials,
    )
    from gkd_lightning.chain.jobs import run_jobs, stage_command
    from gkd_lightning.chain.logger import METRICS_JSONL, RunLogger, read_metrics
    from gkd_lightning.chain.operation_counts import MetaOperations
    from gkd_lightning.chain.plan import DONE, Plan, PlannedStage, make_plan, with_parents
    from gkd_lightning.chain.rehearsal import rehearse
    from gkd_lightning.chain.required_data import data_needed, look_at_data, require_data
    from gkd_lightning.chain.slurm import jobs_of, submit
    from gkd_lightning.chain.stage_cli import StageCLI
    from gkd_lightning.chain.trial_steps import expected_time, trials

__all__ = [
    "DONE", "METRICS_JSONL", "MetaOperations", "OBJECTIVE", "Plan", "PlannedStage", "RunLogger", "StageCLI", "Trial",
    "check_data_changes", "check_objective", "check_plan", "combinations", "cost_summary", "data_needed", "describe",
    "expected_time", "jobs_of", "link_stages", "look_at_data", "make_plan", "ranked", "read_metrics", "rehearse",
    "require_data", "run_jobs", "run_stage", "run_stages", "scored", "stage_command", "stages_from", "submit",
    "trial_of", "trials", "with_parents", "write_trials",
]  # fmt: skip

__getattr__ = on_demand(__name__, __file__)
