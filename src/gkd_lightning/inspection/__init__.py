"""`gkd inspect`: looking into what training has made, an instrument a file."""

from typing import TYPE_CHECKING

from gkd_lightning.lazily import on_demand

if TYPE_CHECKING:
    from gkd_lightning.inspection.attention import inspect_attention
    from gkd_lightning.inspection.curves import inspect_training
    from gkd_lightning.inspection.features import inspect_features
    from gkd_lightning.inspection.gradients import inspect_gradients
    from gkd_lightning.inspection.images import Domains, find_domains
    from gkd_lightning.inspection.similarity import inspect_similarity

__all__ = [
    "Domains",
    "find_domains",
    "inspect_attention",
    "inspect_features",
    "inspect_gradients",
    "inspect_similarity",
    "inspect_training",
]

__getattr__ = on_demand(__name__, __file__)
