"""`gkd inspect`: looking into what training has made, an instrument a file.

They take `places` (see `find_sources`), the `domains` that images are from, the folder `out` of the files, a `teacher`
(see `find_teacher`), how many images of a domain they look at (`count`), and the `device` on which encoders run. Each
writes a picture, the numbers behind it as CSV, and what was measured as JSON.
"""

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
