"""The libraries' advice is kept off the terminal."""

from __future__ import annotations

import logging
import warnings


def quiet() -> None:
    """Keep the libraries' advice off the terminal: one line there means that something is wrong."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(lightning|torch|timm|transformers|albumentations|jsonargparse)(\..*)?")
    warnings.filterwarnings("ignore", message=r".*LeafSpec.*|.*`isinstance\(treespec.*")
