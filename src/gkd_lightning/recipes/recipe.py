"""A recipe: one YAML file in `experiments/` that says which stages make which methods, and where they are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from gkd_lightning.errors import UserError, nearest
from gkd_lightning.recipes.fragments import Fragment
from gkd_lightning.recipes.rivals import Rival
from gkd_lightning.recipes.yaml_text import parse_yaml

Role = Literal["method", "none", "teacher", "oracle"]
"""What a row stands for in the table, see `gkd_lightning.evaluate.results.Role`."""
PREVIOUS = "previous"
"""`from` of a stage that starts from the stage above it; ``none`` starts fresh, and a mapping from dotted keys to
stages fills several keys."""


@dataclass(frozen=True)
class Basis:
    """Where a row's settings come from.

    Attributes:
        source: ``official`` if the authors' code has a script or configuration for it, else ``derived``.
        why: one sentence.
    """

    source: Literal["official", "derived"]
    why: str


@dataclass(frozen=True)
class StageRecipe:
    """One `gkd fit`.

    Attributes:
        name: such as ``task_agnostic``; unique within its method.
        configs: fragments, in order, on top of the recipe's common ones.
        set: values by dotted key, on top of the fragments.
        inputs: names of the stages whose artefacts this one starts from, by the dotted key that receives the path.
            The key None picks ``model.student.weights`` where the model has a student, else ``model.encoder.weights``.
    """

    name: str
    configs: tuple[Fragment, ...] = ()
    set: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str | None, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodRecipe:
    """A row of the table.

    Attributes:
        id: its key in the recipe.
        title: its name in tables.
        stages: in order; the last one makes the segmenter that is judged.
        role: what it stands for.
        basis: where its settings come from.
        published: published mIoU by domain, in per cent; ``mean`` is that over the unseen domains.
        set: what `--set` takes, for this row alone: ``STAGE:key``, ``key`` for all its stages, a fragment for another.
    """

    id: str
    title: str
    stages: tuple[StageRecipe, ...]
    role: Role = "method"
    basis: Basis | None = None
    published: Mapping[str, float] = field(default_factory=dict)
    set: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A whole study.

    Attributes:
        name: names the folder of its results.
        title: heading of the report.
        description: a few sentences for the report.
        seeds: one run of every method for each.
        common: fragments under every stage.
        common_stages: fragments by stage name, on top of the stage's own.
        common_set: values for every stage (``STAGE:key`` for one), over all fragments, under the stage's own `set`.
        methods: the rows of the table, in order.
        evaluate: fragments of the evaluation's ``data`` section.
        evaluate_set: values by dotted key for the evaluation.
        published_in: where the methods' published numbers come from; empty if there are none.
        teacher: what the teacher is and what it has seen (``model``, ``task``, ``data``, ``labels``), for the report.
        highlight: id of the method that the report is about.
        overrides: values on top of everything, ``key`` for every stage or ``STAGE:key`` for one.
        path: the file it was read from.
        rivals: published numbers of other methods in the same setting, which are run here by no row.
    """

    name: str
    title: str
    description: str
    seeds: tuple[int, ...]
    common: tuple[Fragment, ...]
    common_stages: Mapping[str, tuple[Fragment, ...]]
    common_set: Mapping[str, Any]
    methods: tuple[MethodRecipe, ...]
    evaluate: tuple[Fragment, ...]
    evaluate_set: Mapping[str, Any]
    published_in: str
    teacher: Mapping[str, str]
    highlight: str
    overrides: Mapping[str, Any]
    path: Path
    rivals: tuple[Rival, ...] = ()

    @property
    def stage_names(self) -> list[str]:
        """Names of all stages, in order of first appearance."""
        return list(dict.fromkeys(stage.name for method in self.methods for stage in method.stages))


EVALUATE = "evaluate"
"""Scope of a setting that is meant for the evaluation."""


def split_scope(key: str, stage_names: list[str]) -> tuple[str | None, str]:
    """``task:trainer.max_steps`` -> (``task``, ``trainer.max_steps``); without a scope (None, key).

    Raises:
        UserError: if the scope is not the name of a stage.
    """
    scope, colon, rest = key.partition(":")
    if not colon:
        return None, key
    known = [*stage_names, EVALUATE]
    if scope not in known:
        raise UserError(f"{key}: no stage is named '{scope}'{nearest(scope, known)} (stages: {', '.join(known)})")
    return scope, rest


def parse_setting(text: str) -> tuple[str, Any]:
    """``--set key=value`` -> (key, value); the value is YAML, and ``None``, as W&B's agent writes it, is null.

    Raises:
        UserError: if there is no ``=``, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text}: expected key=value, such as task:trainer.max_steps=100")
    try:
        return key, None if value == "None" else parse_yaml(value)
    except Exception as error:
        raise UserError(f"--set {text}: the value is not YAML") from error
