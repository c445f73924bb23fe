"""Which data sets a study reads, whether they are there, and a look at a few files of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gkd_lightning.chain.plan import Plan
from gkd_lightning.data import (
    ImageDataset,
    SegmentationDataset,
    evenly,
    image_and_label,
    noted_conversions,
    require_instances,
    segments_of,
)
from gkd_lightning.errors import UserError
from gkd_lightning.recipes import arguments, build_dataset, dataset_specs, interpolate

FILES = 8
"""Of a data set, looked at before a run."""


@dataclass
class NeededData:
    """A data set that a stage or an evaluation reads.

    Attributes:
        title: short name.
        labels: whether its labels are used.
        found: what is there, or what is missing of it.
        images: its size; 0 if it is missing.
        instances: whether it has to tell instances apart.
    """

    title: str
    labels: bool
    found: ImageDataset | UserError
    images: int
    instances: bool = False

    def __str__(self) -> str:
        """One line for the terminal."""
        unusable = isinstance(self.found, UserError)
        return f"data: {self.title}: " + (f"NOT USABLE: {self.found}" if unusable else f"{self.images} images")


def data_needed(plans: Iterable[Plan]) -> list[NeededData]:
    """All data sets of stages that are not finished, and of the evaluations after those."""
    wanted: dict[str, tuple[bool, bool]] = {}
    for plan in plans:
        waiting = [stage for stage in plan.stages if stage.state() != "done"]
        used: list[tuple[Mapping[str, Any], bool, bool]] = [
            (stage.what.datasets, arguments(stage.config, "data").get("view") == "segmentation", stage.what.panoptic)
            for stage in waiting
        ]
        used += [(dataset_specs(plan.evaluation), True, False)] if waiting else []
        for datasets, labels, panoptic in used:
            for name, spec in datasets.items():
                key = json.dumps(spec, sort_keys=True)
                before = wanted.get(key, (False, False))
                wanted[key] = before[0] or labels, before[1] or (panoptic and name == "dataset")
    return [_needed(json.loads(key), *uses) for key, uses in wanted.items()]


def require_data(needed: Iterable[NeededData]) -> None:
    """See to it that all data are there, and look at them, before the first stage runs.

    Raises:
        UserError: what is wrong with the first data set that cannot be used, and how many others cannot; otherwise as
            `look_at_data`.
    """
    needed = list(needed)
    unusable = [data.found for data in needed if isinstance(data.found, UserError)]
    if len(unusable) > 1:
        raise UserError(f"{len(unusable)} of {len(needed)} data sets cannot be used, first {unusable[0]}")
    if unusable:
        raise unusable[0]
    look_at_data(needed)


def look_at_data(needed: Iterable[NeededData]) -> None:
    """Read a few files of every data set that is there: what cannot be used stops, what looks odd is said.

    Raises:
        UserError: names the file, and what is wrong with it.
    """
    from gkd_lightning.evaluate import self_test

    for data in needed:
        if isinstance(data.found, UserError):
            continue
        labels = data.found if data.labels and isinstance(data.found, SegmentationDataset) else None
        with noted_conversions() as converted:
            for index in evenly(data.found, FILES):
                if labels is None:
                    data.found.image(index)
                else:
                    _, label = image_and_label(labels, index)
                    if data.instances:
                        segments_of(labels, index, label)
                if not converted.images:  # drawn, or tiles of a large image, which are never changed
                    break
        odd = [str(converted)]
        if labels is not None:
            odd.append(self_test(labels, FILES).problem or "")
        for line in filter(None, odd):
            print(f"data: {data.title}: {line}", flush=True)


def _needed(spec: Any, labels: bool, instances: bool) -> NeededData:
    title = _title(spec)
    try:
        found = build_dataset(title, "dataset", interpolate(spec))
        if instances:
            require_instances("data.dataset", found)
        return NeededData(title, labels, found, len(found), instances)
    except UserError as error:
        return NeededData(title, labels, error, 0, instances)


def _title(spec: Any) -> str:
    name = str(spec["class_path"]).rpartition(".")[2]
    arguments = spec.get("init_args") or {}
    if "datasets" in arguments:
        return " + ".join(_title(inner) for inner in arguments["datasets"])
    said = " ".join(f"{value}" for key, value in arguments.items() if key in ("split", "condition", "bands", "style"))
    return f"{name} {said}".rstrip()
