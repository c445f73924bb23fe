"""Generalizable Knowledge Distillation (GKD) from vision foundation models, on PyTorch Lightning.

Method: "Generalizable Knowledge Distillation from Vision Foundation Models for Semantic Segmentation",
CVPR 2026, arXiv 2603.02554. The rooms of the house, top to bottom: ``cli``, ``inspection``, ``chain``, ``baselines``,
``deploy``, ``segment`` and ``distill``, ``report``, ``evaluate``, ``recipes``, ``data``, ``encoders``. Nothing imports
upwards.
"""

from typing import Any

__version__ = "0.1.0"

_OFFERED = {
    "load": ("deploy", "load"),
    "load_encoder": ("encoders", "load_student"),
    "distil": ("cli.api", "distil"),
    "run": ("cli.api", "run"),
}
"""Names for users, imported when they are asked for; `__init__.pyi` tells their types."""


def __getattr__(name: str) -> Any:
    if name not in _OFFERED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    room, inside = _OFFERED[name]
    return getattr(import_module(f"{__name__}.{room}"), inside)
