"""Which data sets a study reads, and whether they are there."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gkd_lightning.chain.plan import Plan
from gkd_lightning.errors import UserError
from gkd_lightning.recipes import build_dataset, dataset_specs, interpolate


def data_needed(plans: Iterable[Plan]) -> dict[str, int | UserError]:
    """Every data set that a stage or an evaluation reads, by a short title: its images, or what is missing of it."""
    specs: dict[str, Any] = {}
    for plan in plans:
        for datasets in (*(stage.what.datasets for stage in plan.stages), dataset_specs(plan.evaluation)):
            for spec in datasets.values():
                specs.setdefault(json.dumps(spec, sort_keys=True), spec)
    return {_title(spec): _images(spec) for spec in specs.values()}


def require_data(plan: Plan) -> None:
    """Look for all data before the first stage runs; nothing to do for a plan of which every stage is finished.

    Raises:
        UserError: what is wrong with the first data set that cannot be used, and how many others cannot.
    """
    waiting = tuple(stage for stage in plan.stages if stage.state() != "done")
    if not waiting:
        return
    found = data_needed([replace(plan, stages=waiting)])
    missing = [images for images in found.values() if isinstance(images, UserError)]
    if missing:
        others = f" (and {len(missing) - 1} more of {len(found)} data sets)" if len(missing) > 1 else ""
        raise UserError(f"{missing[0]}{others}")


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
