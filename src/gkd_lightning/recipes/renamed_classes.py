"""Class paths of earlier versions that configurations may still hold, and where the classes are now."""

from __future__ import annotations

_RENAMED = {
    "gkd_lightning.baselines.PreDistillation": "gkd_lightning.distill.Distillation",
    "gkd_lightning.baselines.pre_distillation.PreDistillation": "gkd_lightning.distill.Distillation",
    "gkd_lightning.distill.module.DomainGeneralDistillation": "gkd_lightning.distill.DomainGeneralDistillation",
}
_MOVED = {
    "gkd_lightning.pipeline.callbacks": "gkd_lightning.chain.callbacks",
    "gkd_lightning.pipeline.evaluation": "gkd_lightning.chain.judging",
    "gkd_lightning.pipeline.logger": "gkd_lightning.chain",
}
"""Old module -> the package that offers its classes."""


def present_class_path(class_path: str) -> str | None:
    """Where the class of an old class path is now; None for a path that was never moved."""
    if class_path in _RENAMED:
        return _RENAMED[class_path]
    for old, new in _MOVED.items():
        if class_path.startswith(f"{old}."):
            return f"{new}.{class_path.rsplit('.', 1)[1]}"
    return None
