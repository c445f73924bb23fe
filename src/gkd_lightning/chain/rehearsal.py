"""What would go wrong in the last stage, found before the first: every model built without values, classes compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gkd_lightning.chain.cost import stage_cost
from gkd_lightning.chain.execution import alike
from gkd_lightning.chain.plan import Plan, PlannedStage
from gkd_lightning.data import LabelSpace
from gkd_lightning.errors import UserError
from gkd_lightning.recipes import arguments, build_dataset, dataset_specs, interpolate


def rehearse(plan: Plan) -> int:
    """Build every model of the stages that are not finished, and compare classes; nothing is read but data set records.

    Returns:
        How many different models were built.

    Raises:
        UserError: names the stage, or the row, and the key.
    """
    different: dict[str, PlannedStage] = {}
    for stage in plan.stages:
        if stage.state() != "done":
            different.setdefault(alike(stage), stage)
    for stage in different.values():
        try:
            stage_cost(stage)
            _check_classes(stage, plan)
        except UserError as error:
            raise UserError(f"stage {stage.name} of {stage.users[0]}: {error}") from error
    waiting = {stage.hash for stage in plan.stages if stage.state() != "done"}
    for run in plan.runs if plan.evaluation else ():
        last = run.stages[-1]
        if last.hash in waiting and _classes_of(last) is None:
            raise UserError(f"methods.{run.method.id}: its last stage '{last.name}' makes no segmenter to be judged")
    return len(different)


def _classes_of(stage: PlannedStage) -> int | None:
    """Number of classes that a stage's model tells apart; None for one that tells none apart."""
    found = arguments(stage.config, "model").get("num_classes")
    return found if isinstance(found, int) else None


def _check_classes(stage: PlannedStage, plan: Plan) -> None:
    classes = _classes_of(stage)
    own = dict(_spaces(stage.what.datasets))
    if classes is None or not own:
        return
    space = next(iter(own.values()))
    if len(space) != classes:
        names = ", ".join(space.names)
        raise UserError(f"model.num_classes: {classes}, but the data has {len(space)} classes ({names})")
    last = any(stage.hash == run.stages[-1].hash for run in plan.runs)
    judged = list(_spaces(dataset_specs(plan.evaluation))) if last else []
    for name, other in [*own.items(), *judged]:
        if other.names != space.names:
            raise UserError(
                f"data: the classes of {name} ({', '.join(other.names)}) are not those of the training data "
                f"({', '.join(space.names)})"
            )


def _spaces(specs: Mapping[str, Any]) -> Iterator[tuple[str, LabelSpace]]:
    """Label spaces by the name of their data set, of those that can be built here and have one."""
    for name, spec in specs.items():
        try:
            space = getattr(build_dataset("data", name, interpolate(spec)), "label_space", None)
        except UserError:  # no root yet; `require_data` tells
            continue
        if isinstance(space, LabelSpace):
            yield name, space
