"""What every training run does besides training: keyed draws, resumable state, artefact, costs, progress.

`GradientConflict` and `ProbeStudent` look into models and data, so they are imported where a configuration names them:
`gkd fit --help` needs neither.
"""

from typing import TYPE_CHECKING

from gkd_lightning.chain.callbacks.checkpoint import RESUME_CHECKPOINT, AtomicCheckpointIO, resume_checkpoint
from gkd_lightning.chain.callbacks.costs import RunCosts
from gkd_lightning.chain.callbacks.export import ExportArtefact
from gkd_lightning.chain.callbacks.interrupt import StopWithCheckpoint
from gkd_lightning.chain.callbacks.keyed_steps import KeyedSteps
from gkd_lightning.chain.callbacks.other_layout import OtherLayout
from gkd_lightning.chain.callbacks.products import Float32Products, MatmulPrecision
from gkd_lightning.chain.callbacks.progress import Progress
from gkd_lightning.chain.callbacks.selection import BestOnSource, Selection
from gkd_lightning.chain.callbacks.waiting import WaitingForData
from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.chain.callbacks.gradient_conflict import GradientConflict
    from gkd_lightning.chain.callbacks.probe import ProbeStudent

__all__ = [
    "RESUME_CHECKPOINT", "AtomicCheckpointIO", "BestOnSource", "ExportArtefact", "Float32Products", "GradientConflict",
    "KeyedSteps", "MatmulPrecision", "OtherLayout", "ProbeStudent", "Progress", "RunCosts", "Selection",
    "StopWithCheckpoint", "WaitingForData", "resume_checkpoint",
]  # fmt: skip

__getattr__ = on_demand(__name__, __file__)
