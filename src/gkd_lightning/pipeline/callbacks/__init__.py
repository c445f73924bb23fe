"""What every training run does besides training: keyed draws, resumable state, artefact, costs, progress.

`GradientConflict` and `ProbeStudent` look into models and data, so they are imported where a configuration names them:
`gkd fit --help` needs neither.
"""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand
from gkd_lightning.pipeline.callbacks.checkpoint import RESUME_CHECKPOINT, AtomicCheckpointIO, resume_checkpoint
from gkd_lightning.pipeline.callbacks.costs import RunCosts
from gkd_lightning.pipeline.callbacks.export import ExportArtefact
from gkd_lightning.pipeline.callbacks.interrupt import StopWithCheckpoint
from gkd_lightning.pipeline.callbacks.progress import Progress
from gkd_lightning.pipeline.callbacks.selection import BestOnSource, Selection
from gkd_lightning.pipeline.callbacks.steps import KeyedSteps
from gkd_lightning.pipeline.callbacks.waiting import WaitingForData

if TYPE_CHECKING:
    from gkd_lightning.pipeline.callbacks.conflict import GradientConflict
    from gkd_lightning.pipeline.callbacks.probe import ProbeStudent

__all__ = [
    "RESUME_CHECKPOINT",
    "AtomicCheckpointIO",
    "BestOnSource",
    "ExportArtefact",
    "GradientConflict",
    "KeyedSteps",
    "ProbeStudent",
    "Progress",
    "RunCosts",
    "Selection",
    "StopWithCheckpoint",
    "WaitingForData",
    "resume_checkpoint",
]

__getattr__ = on_demand(__name__, {"conflict": ["GradientConflict"], "probe": ["ProbeStudent"]})
