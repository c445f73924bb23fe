"""Which data sets a study reads, and whether they are there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from gkd_lightning.errors import UserError
from gkd_lightning.pipeline.datasets import build_dataset, dataset_specs
from gkd_lightning.pipeline.plan import Plan
from gkd_lightning.pipeline.yaml_text import interpolate


def data_needed(plans: Iterable[Plan]) -> dict[str, int | UserError]:
    """Every data set that a stage or an evaluation reads, by a short title: its images, or what is missing of it."""
    specs: dict[str, Any] = {}
    for plan in plans:
        for config in (*(stage.config for stage in plan.stages), plan.evaluation):
            for spec in dataset_specs(config).values():
                specs.setdefault(json.dumps(spec, sort_keys=True), spec)
    return {_title(spec): _images(spec) for spec in specs.values()}


def _images(spec: Any) -> int | UserError:
    try:
        return len(build_dataset(_title(spec), "dataset", interpolate(spec)))
    except UserError as error:
        return error


def _title(spec: Any) -> str:
    name = str(spec["class_path"]).rpartition(".")[2]
    arguments = spec.get("init_args") or {}
    if "datasets" in arguments:
        return " + ".join(_title(inner) for inner in arguments["datasets"])
    said = " ".join(f"{value}" for key, value in arguments.items() if key in ("split", "condition", "bands", "style"))
    return f"{name} {said}".rstrip()
