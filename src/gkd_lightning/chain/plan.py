"""A recipe resolved into stages with names that follow from their content; shared work appears once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gkd_lightning.chain.identity import content_hash, stage_hash
from gkd_lightning.chain.resume import newest_checkpoint
from gkd_lightning.chain.stage import Stage
from gkd_lightning.errors import UserError, nearest
from gkd_lightning.ranges import check_finite
from gkd_lightning.recipes import (
    EVALUATE,
    FRAGMENT,
    Config,
    MethodRecipe,
    Recipe,
    StageRecipe,
    Swap,
    changed,
    compose,
    get_value,
    require_used,
    set_value,
    split_scope,
    swapped,
)

DONE = "done.json"
STARTED = "started.json"

State = Literal["done", "resume", "run"]


@dataclass
class PlannedStage:
    """One training of the plan.

    Attributes:
        name: the stage's name in the recipe.
        seed: its seed.
        what: its composed configuration, without output paths and with `artefact:<hash>` where a parent's goes.
        hash: SHA-256 of what it computes, of the files it names and (through it) the parents.
        directory: ``<store>/<name>-<first 12 digits of the hash>``.
        inputs: the stages whose artefacts this one starts from, by the dotted key that receives the path.
        users: ``method`` ids that use this stage.
    """

    name: str
    seed: int
    what: Stage
    hash: str
    directory: Path
    inputs: Mapping[str, PlannedStage] = field(default_factory=dict)
    users: list[str] = field(default_factory=list)

    @property
    def config(self) -> Config:
        """As composed, for records."""
        return self.what.config

    @property
    def parents(self) -> list[PlannedStage]:
        """The stages that have to be finished before this one."""
        return list(self.inputs.values())

    @property
    def title(self) -> str:
        """Short name for progress lines."""
        shared = self.users[0] if len(self.users) == 1 else f"{self.users[0]}+{len(self.users) - 1}"
        return f"{shared}/{self.name} seed {self.seed}"

    def manifest(self) -> dict[str, Any] | None:
        """`done.json` of the finished stage; None if it is missing, damaged or does not fit the files."""
        try:
            found = json.loads((self.directory / DONE).read_text(encoding="utf-8"))
            artefact = self.directory / found["artefact"]
            if found["hash"] != self.hash or content_hash(artefact) != found["sha256"]:
                return None
            if not all((self.directory / name).is_file() for name in found.get("files", ())):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return dict(found)

    def artefact(self) -> Path:
        """The finished stage's artefact."""
        found = self.manifest()
        if found is None:
            raise UserError(f"{self.directory}: the stage '{self.name}' is not finished")
        return self.directory / str(found["artefact"])

    def start(self) -> dict[str, str | None]:
        """SHA-256 of the artefacts that this stage starts from, by the key that receives them."""
        return {key: (parent.manifest() or {}).get("sha256") for key, parent in self.inputs.items()}

    def state(self) -> State:
        """Whether the stage is finished, can be resumed, or has to run; a parent that changed voids both."""
        if any(parent.state() != "done" for parent in self.parents):
            return "run"
        start = self.start()
        found = self.manifest()
        if found is not None and found.get("starts_from") == start:
            return "done"
        same = self.started().get("starts_from") == start
        return "resume" if same and newest_checkpoint(self.directory) is not None else "run"

    def started(self) -> dict[str, Any]:
        """`started.json` of the stage; empty if it is missing or damaged."""
        try:
            return dict(json.loads((self.directory / STARTED).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def final_config(self) -> Config:
        """The configuration with the paths filled in, ready for `gkd fit`."""
        weights = {key: str(parent.artefact()) for key, parent in self.inputs.items()}
        return self.what.config_with(weights, folder=str(self.directory), title=self.title)


def with_parents(stages: Iterable[PlannedStage]) -> list[PlannedStage]:
    """These stages and all that they start from, each once, parents first."""
    found: dict[str, PlannedStage] = {}

    def add(stage: PlannedStage) -> None:
        for parent in stage.parents:
            add(parent)
        found.setdefault(stage.hash, stage)

    for stage in stages:
        add(stage)
    return list(found.values())


@dataclass(frozen=True)
class PlannedRun:
    """A method with one seed: its stages in order, the last of which makes the segmenter."""

    method: MethodRecipe
    seed: int
    stages: tuple[PlannedStage, ...]

    @property
    def chain(self) -> list[PlannedStage]:
        """The last stage and its ancestors, oldest first: what the method's result has cost."""
        return with_parents(self.stages[-1:])


@dataclass(frozen=True)
class Plan:
    """Everything that a recipe asks for.

    Attributes:
        stages: every training once, parents before children.
        runs: methods x seeds.
        evaluation: configuration of the evaluation (its ``data`` section, and ``trainer`` where needed).
    """

    recipe: Recipe
    out: Path
    stages: tuple[PlannedStage, ...]
    runs: tuple[PlannedRun, ...]
    evaluation: Config


def make_plan(
    recipe: Recipe,
    out: Path,
    settings: Sequence[tuple[str, Any]] = (),
    seeds: Iterable[int] | None = None,
    methods: Sequence[str] | None = None,
    store: Path | None = None,
) -> Plan:
    """Compose every stage of every method and seed.

    Args:
        recipe: what to do.
        out: folder of this recipe's stages and results.
        settings: (key, value) on top of the recipe's own; ``STAGE:key`` or ``evaluate:key`` for one place. A key that
            names a fragment, such as ``teacher/dinov2_b.yaml``, has it replaced by the fragment that is the value.
        seeds: instead of the recipe's.
        methods: ids of the rows that are wanted; None for all.
        store: folder of the stages, which recipes can share; default `out`/stages.

    Raises:
        UserError: for a missing fragment, one that is to be replaced but not used, a key that cannot be set, or a
            method that the recipe has not.
    """
    known = [method.id for method in recipe.methods]
    for name in methods or ():
        if name not in known:
            raise UserError(f"{recipe.path}: no method '{name}'{nearest(name, known)} (methods: {', '.join(known)})")
    wanted = [method for method in recipe.methods if methods is None or method.id in methods]
    store = store or out / "stages"
    swaps = _swaps(_in_working_folder(settings), recipe)
    overrides = [*recipe.overrides.items(), *(item for item in settings if not item[0].endswith(FRAGMENT))]
    for key, _ in overrides:
        split_scope(key, recipe.stage_names)
    stages: dict[str, PlannedStage] = {}
    runs: list[PlannedRun] = []
    for seed in recipe.seeds if seeds is None else seeds:
        for method in wanted:
            made: dict[str, PlannedStage] = {}
            own = _swaps(method.set, recipe, f"{recipe.path}: methods.{method.id}.set.")
            row = [*(item for item in method.set.items() if not item[0].endswith(FRAGMENT)), *overrides]
            for stage in method.stages:
                inputs = {key: made[name] for key, name in stage.inputs.items()}
                planned = _plan_stage(recipe, stage, inputs, seed, [*own, *swaps], row, store)
                planned = stages.setdefault(planned.hash, planned)
                if method.id not in planned.users:
                    planned.users.append(method.id)
                made[stage.name] = planned
            require_used(own)
            runs.append(PlannedRun(method, seed, tuple(made.values())))
    evaluation = compose(swapped(recipe.evaluate, swaps, EVALUATE), beside=recipe.path.parent)
    require_used(swaps)
    _apply(evaluation, recipe.evaluate_set.items(), None, recipe)
    _apply(evaluation, overrides, EVALUATE, recipe, only_scoped=True)
    check_finite(evaluation)
    return Plan(recipe, out, tuple(stages.values()), tuple(runs), evaluation)


def _swaps(settings: Mapping[str, Any], recipe: Recipe, where: str = "--set ") -> list[Swap]:
    return [
        Swap(*split_scope(key, recipe.stage_names), value, where)
        for key, value in settings.items()
        if key.endswith(FRAGMENT)
    ]


def _in_working_folder(settings: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Settings of the command line, whose fragments lie in the working folder before they lie among the shipped."""
    return {
        key: str(Path(value).resolve()) if key.endswith(FRAGMENT) and Path(str(value)).is_file() else value
        for key, value in settings
    }


def _plan_stage(
    recipe: Recipe,
    stage: StageRecipe,
    inputs: Mapping[str | None, PlannedStage],
    seed: int,
    swaps: Sequence[Swap],
    overrides: Sequence[tuple[str, Any]],
    store: Path,
) -> PlannedStage:
    beside = recipe.path.parent
    fragments = [*recipe.common, *stage.configs, *recipe.common_stages.get(stage.name, ())]
    config = compose(swapped(fragments, swaps, stage.name), beside)
    _apply(config, recipe.common_set.items(), stage.name, recipe)
    _apply(config, stage.set.items(), stage.name, recipe)
    _apply(config, overrides, stage.name, recipe)
    if "seed_everything" in config:
        raise UserError(f"stage {stage.name}: seed_everything: seeds are the recipe's `seeds`, or --seeds")
    config["seed_everything"] = seed
    named = {key or Stage.read(config).starts_from: parent for key, parent in inputs.items()}
    config = changed(config, {key: f"artefact:{parent.hash}" for key, parent in named.items()})
    # a key into the file in whose place the parent's artefact is read
    config = changed(config, {f"{key}_key": None for key in named if get_value(config, f"{key}_key")})
    check_finite(config)
    digest = stage_hash(config)
    return PlannedStage(stage.name, seed, Stage.read(config), digest, store / f"{stage.name}-{digest[:12]}", named)


def _apply(
    config: Config, values: Iterable[tuple[str, Any]], stage: str | None, recipe: Recipe, only_scoped: bool = False
) -> None:
    for key, value in values:
        scope, rest = split_scope(key, recipe.stage_names)
        everywhere = scope is None and not only_scoped
        if everywhere or scope == stage:
            set_value(config, rest, value)
