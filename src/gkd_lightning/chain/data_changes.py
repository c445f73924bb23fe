"""Whether stages, finished or interrupted, were trained on what their data sets hold now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gkd_lightning.chain.plan import DONE, STARTED, Plan, PlannedStage
from gkd_lightning.data import contents
from gkd_lightning.errors import UserError
from gkd_lightning.files import write_json
from gkd_lightning.recipes import arguments, build_dataset, dataset_specs, interpolate


def training_data(stage: PlannedStage, read: bool = True) -> str | None:
    """Fingerprint of the images, and of labels and instances if it uses them, that a stage trains on; None without any.

    Args:
        stage: the stage.
        read: see `contents`.
    """
    spec = stage.what.datasets.get("dataset")
    if spec is None:
        return None
    labels = arguments(stage.config, "data").get("view") == "segmentation"
    return contents(_built(spec), labels, read, instances=stage.what.panoptic)


def evaluated_data(evaluation: Mapping[str, Any], panoptic: bool = False) -> dict[str, str]:
    """Fingerprints of what an evaluation judges on, by domain; with `panoptic` of instances too."""
    return {
        name: contents(_built(spec), labels=True, instances=panoptic)
        for name, spec in dataset_specs(evaluation).items()
    }


def check_data_changes(plan: Plan, accept: bool = False) -> None:
    """Refuse to go on from stages, or to go on with stages, whose data are others now.

    Args:
        plan: its finished and interrupted stages are looked at; those of earlier versions, which left no fingerprint,
            are taken.
        accept: keep the stages, and take the data of now for theirs.

    Raises:
        UserError: names the first stage, and the two ways out.
    """
    found: dict[str, str | None] = {}
    for stage in plan.stages:
        state = stage.state()
        if state == "run":
            continue
        done = state == "done"
        record = (stage.manifest() if done else stage.started()) or {}
        if record.get("data") is None:
            continue
        used = f"{arguments(stage.config, 'data').get('view')} {stage.what.panoptic}"
        key = f"{done} {stage.what.datasets.get('dataset')} {used}"
        if key not in found:
            try:
                found[key] = training_data(stage, read=done)
            except (UserError, OSError):  # data that are no longer there have done their work, or are told elsewhere
                found[key] = None
        if found[key] in (None, record["data"]):
            continue
        if not accept:
            since, kept = ("then", "keeps it as it is") if done else ("it began", "goes on with it")
            raise UserError(
                f"stage {stage.name} ({stage.directory}): files of its training data have changed since {since}; "
                f"--from {stage.name} trains it again, --accept-data {kept}"
            )
        write_json(stage.directory / (DONE if done else STARTED), {**record, "data": found[key]})


def _built(spec: Any) -> Any:
    return build_dataset("data", "dataset", interpolate(spec))
