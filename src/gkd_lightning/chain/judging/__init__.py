"""The end of a chain: every segmenter judged, sample pictures drawn, tables and report written."""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.chain.judging.evaluation import Evaluation
    from gkd_lightning.chain.judging.exports import judge_exports
    from gkd_lightning.chain.judging.latencies import Timed, time_models
    from gkd_lightning.chain.judging.plan_report import report_plan
    from gkd_lightning.chain.judging.published_table import write_tables

__all__ = ["Evaluation", "Timed", "judge_exports", "report_plan", "time_models", "write_tables"]

__getattr__ = on_demand(__name__, __file__)
