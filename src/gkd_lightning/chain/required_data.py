"""Which data sets a study reads, and whether they are there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gkd_lightning.chain.plan import Plan, PlannedStage
from gkd_lightning.data import SegmentationDataset
from gkd_lightning.errors import UserError
from gkd_lightning.recipes import arguments, build_dataset, dataset_specs, interpolate

LABELS = 8
"""Of a data set, looked at before a run."""


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
    _look_at_labels(waiting, plan)


def _look_at_labels(stages: Iterable[PlannedStage], plan: Plan) -> None:
    """Read a few labels of every data set whose labels are used: bad ids stop, what looks odd is said.

    Raises:
        UserError: names the file and the id.
    """
    from gkd_lightning.evaluate import self_test

    used: list[Mapping[str, Any]] = [dataset_specs(plan.evaluation)]
    used += [stage.what.datasets for stage in stages if arguments(stage.config, "data").get("view") == "segmentation"]
    specs = {json.dumps(spec, sort_keys=True): spec for datasets in used for spec in datasets.values()}
    for spec in specs.values():
        dataset = build_dataset(_title(spec), "dataset", interpolate(spec))
        if isinstance(dataset, SegmentationDataset) and (problem := self_test(dataset, LABELS).problem) is not None:
            print(f"data: {_title(spec)}: {problem}", flush=True)


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
