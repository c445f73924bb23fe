"""Which data sets a study reads, and whether they are there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from gkd_lightning.errors import UserError
from gkd_lightning.pipeline.datasets import build_dataset, dataset_specs
from gkd_lightning.pipeline.plan import Plan
from gkd_lightning.pipeline.yaml_text import interpolate


def data_lines(plans: Iterable[Plan]) -> list[str]:
    """One line per data set that any stage or evaluation reads: its images, or what is missing and where to get it."""
    specs: dict[str, Any] = {}
    for plan in plans:
        for config in (*(stage.config for stage in plan.stages), plan.evaluation):
            for spec in dataset_specs(config).values():
                specs.setdefault(json.dumps(spec, sort_keys=True), spec)
    return [f"data: {_state(spec)}" for spec in specs.values()]


def _state(spec: Any) -> str:
    name = _title(spec)
    try:
        dataset = build_dataset(name, "dataset", interpolate(spec))
        return f"{name}: {len(dataset)} images"
    except UserError as error:
        return f"{name}: MISSING: {error}"


def _title(spec: Any) -> str:
    name = str(spec["class_path"]).rpartition(".")[2]
    arguments = spec.get("init_args") or {}
    if "datasets" in arguments:
        return " + ".join(_title(inner) for inner in arguments["datasets"])
    said = " ".join(f"{value}" for key, value in arguments.items() if key in ("split", "condition", "bands", "style"))
    return f"{name} {said}".rstrip()
