"""A recipe: one YAML file in `experiments/` that says which stages make which methods, and where they are judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from gkd_lightning.errors import UserError
from gkd_lightning.files import shipped_root
from gkd_lightning.pipeline.compose import Fragment, merge, nearest
from gkd_lightning.pipeline.yaml_text import parse_yaml, read_yaml

Role = Literal["method", "none", "teacher", "oracle"]
"""What a row stands for in the table, see `gkd_lightning.evaluate.results.Role`."""
PREVIOUS = "previous"
"""`from` of a stage that starts from the stage above it; ``none`` starts fresh."""


@dataclass(frozen=True)
class StageRecipe:
    """One `gkd fit`.

    Attributes:
        name: such as ``task_agnostic``; unique within its method.
        configs: fragments, in order, on top of the recipe's common ones.
        set: values by dotted key, on top of the fragments.
        parent: name of the stage whose artefact this one starts from, or None.
        to: dotted key that receives the artefact's path; None picks ``model.student.weights`` where the model
            has a student and ``model.encoder.weights`` otherwise.
    """

    name: str
    configs: tuple[Fragment, ...] = ()
    set: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    to: str | None = None


@dataclass(frozen=True)
class MethodRecipe:
    """A row of the table: stages in order; the last one makes the segmenter that is judged."""

    id: str
    title: str
    stages: tuple[StageRecipe, ...]
    role: Role = "method"


@dataclass(frozen=True)
class Recipe:
    """A whole study.

    Attributes:
        name: names the folder of its results.
        title: heading of the report.
        description: a few sentences for the report.
        seeds: one run of every method for each.
        common: fragments under every stage.
        common_set: values for every stage (``STAGE:key`` for one), over all fragments, under the stage's own `set`.
        methods: the rows of the table, in order.
        evaluate: fragments of the evaluation's ``data`` section.
        evaluate_set: values by dotted key for the evaluation.
        teacher: what the teacher is and what it has seen (``model``, ``task``, ``data``, ``labels``), for the report.
        highlight: id of the method that the report is about.
        overrides: values on top of everything, ``key`` for every stage or ``STAGE:key`` for one.
        path: the file it was read from.
    """

    name: str
    title: str
    description: str
    seeds: tuple[int, ...]
    common: tuple[Fragment, ...]
    common_set: Mapping[str, Any]
    methods: tuple[MethodRecipe, ...]
    evaluate: tuple[Fragment, ...]
    evaluate_set: Mapping[str, Any]
    teacher: Mapping[str, str]
    highlight: str
    overrides: Mapping[str, Any]
    path: Path

    @property
    def stage_names(self) -> list[str]:
        """Names of all stages, in order of first appearance."""
        return list(dict.fromkeys(stage.name for method in self.methods for stage in method.stages))


def find_recipe(name: str) -> Path:
    """A recipe's file: a path, or the name of a shipped one such as ``minicity/demo``.

    Raises:
        UserError: if there is none; the message names the nearest shipped recipe.
    """
    root = shipped_root() / "experiments"
    short = name.removeprefix("experiments/")
    for candidate in (Path(name).expanduser(), Path(f"{name}.yaml"), root / short, root / f"{short}.yaml"):
        if candidate.is_file():
            return candidate
    known = list(shipped_recipes())
    raise UserError(f"{name}: no such recipe{nearest(short.removesuffix('.yaml'), known)} (see `gkd list recipes`)")


def shipped_recipes() -> dict[str, Path]:
    """Name, such as ``minicity/demo``, and file of every shipped recipe."""
    root = shipped_root() / "experiments"
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in sorted(root.rglob("*.yaml"))}


def load_recipe(name: str) -> Recipe:
    """Read a recipe, what it extends included.

    Raises:
        UserError: for a missing file, an unknown key (with the nearest valid one) or a value of the wrong kind.
    """
    path = find_recipe(name)
    return _Reader(path).recipe(_extended(path, ()))


def _extended(path: Path, visited: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in visited:
        raise UserError(f"{path}: extends itself")
    value = read_yaml(path)
    base = value.pop("extends", None)
    if base is None:
        return value
    if not isinstance(base, str):
        raise UserError(f"{path}: extends: expected the name of a recipe")
    beside = path.parent / base
    base_path = beside if beside.is_file() else find_recipe(base)
    return merge(_extended(base_path, (*visited, path.resolve())), value)


class _Reader:
    """Checks names and kinds; every complaint begins with the file and the dotted key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def recipe(self, value: dict[str, Any]) -> Recipe:
        self.keys(
            value, "", "name", "title", "description", "seeds", "common", "methods", "evaluate", "set", "teacher",
            "highlight",
        )  # fmt: skip
        name = self.text(value, "", "name", self.path.stem)
        if not name.replace("-", "").replace("_", "").isalnum():
            raise self.wrong("name", f"'{name}' names a folder: letters, digits, - and _ only")
        common, common_set = self.section(value, "common")
        evaluate, evaluate_set = self.section(value, "evaluate")
        methods = value.get("methods")
        if not isinstance(methods, dict) or not methods:
            raise self.wrong("methods", "expected at least one method")
        highlight = self.text(value, "", "highlight", next(iter(methods)))
        if highlight not in methods:
            raise self.wrong("highlight", f"'{highlight}' is no method{nearest(highlight, methods)}")
        seeds = value.get("seeds", [0])
        if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
            raise self.wrong("seeds", f"expected a list of whole numbers such as [0, 1, 2], found {seeds!r}")
        recipe = Recipe(
            name=name,
            title=self.text(value, "", "title", name),
            description=self.text(value, "", "description", ""),
            seeds=tuple(seeds),
            common=common,
            common_set=common_set,
            methods=tuple(self.method(key, item) for key, item in methods.items() if item is not None),
            evaluate=evaluate,
            evaluate_set=evaluate_set,
            teacher={key: str(item) for key, item in self.mapping(value.get("teacher"), "teacher").items()},
            highlight=highlight,
            overrides=self.mapping(value.get("set"), "set"),
            path=self.path,
        )
        for key in recipe.overrides:
            split_scope(key, recipe.stage_names)
        return recipe

    def method(self, key: Any, value: Any) -> MethodRecipe:
        where = f"methods.{key}"
        if not isinstance(value, dict):
            raise self.wrong(where, "expected title and stages")
        self.keys(value, where, "title", "stages", "role")
        stages = value.get("stages")
        if not isinstance(stages, list) or not stages:
            raise self.wrong(f"{where}.stages", "expected a list with at least one stage")
        role = self.text(value, where, "role", "method")
        if role not in get_args(Role):
            raise self.wrong(f"{where}.role", f"'{role}' is not one of {', '.join(get_args(Role))}")
        read: list[StageRecipe] = []
        for index, item in enumerate(stages):
            read.append(self.stage(f"{where}.stages[{index}]", item, [stage.name for stage in read]))
        return MethodRecipe(str(key), self.text(value, where, "title", str(key)), tuple(read), cast(Role, role))

    def stage(self, where: str, value: Any, earlier: list[str]) -> StageRecipe:
        if not isinstance(value, dict):
            raise self.wrong(where, "expected name, configs and set")
        self.keys(value, where, "name", "configs", "set", "from", "to")
        name = self.text(value, where, "name", None)
        if name in earlier:
            raise self.wrong(f"{where}.name", f"the method has two stages named '{name}'")
        configs, values = self.contents(value, where)
        parent = "none" if value.get("from", "") is None else self.text(value, where, "from", PREVIOUS)
        if parent == PREVIOUS:
            start = earlier[-1] if earlier else None
        elif parent == "none":
            start = None
        elif parent in earlier:
            start = parent
        else:
            known = [*earlier, "none"]
            raise self.wrong(f"{where}.from", f"'{parent}' is no stage above this one{nearest(parent, known)}")
        to = value.get("to")
        if to is not None and not isinstance(to, str):
            raise self.wrong(f"{where}.to", "expected a dotted key such as model.student.weights")
        return StageRecipe(name, configs, values, start, to)

    def section(self, value: dict[str, Any], key: str) -> tuple[tuple[Fragment, ...], dict[str, Any]]:
        section = self.mapping(value.get(key), key)
        self.keys(section, key, "configs", "set")
        return self.contents(section, key)

    def contents(self, value: dict[str, Any], where: str) -> tuple[tuple[Fragment, ...], dict[str, Any]]:
        configs = value.get("configs") or []
        if not isinstance(configs, list):
            raise self.wrong(f"{where}.configs", "expected a list of fragments")
        configs = _spliced(configs)
        for index, item in enumerate(configs):
            plain = isinstance(item, str)
            mounted = isinstance(item, dict) and all(isinstance(x, str) for pair in item.items() for x in pair)
            if not plain and not mounted:
                raise self.wrong(f"{where}.configs[{index}]", "expected a file or {dotted.key: file}")
        return tuple(configs), self.mapping(value.get("set"), f"{where}.set")

    def mapping(self, value: Any, where: str) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise self.wrong(where, "expected keys and values")
        return value

    def text(self, value: dict[str, Any], where: str, key: str, default: str | None) -> str:
        found = value.get(key, default)
        if not isinstance(found, str):
            raise self.wrong(f"{where}.{key}" if where else key, "expected a text" if found else "is missing")
        return found

    def keys(self, value: dict[str, Any], where: str, *known: str) -> None:
        for key in value:
            if key not in known:
                dotted = f"{where}.{key}" if where else str(key)
                raise self.wrong(dotted, f"unknown key{nearest(str(key), known)}")

    def wrong(self, key: str, problem: str) -> UserError:
        return UserError(f"{self.path}: {key}: {problem}")


def _spliced(items: list[Any]) -> list[Any]:
    """Lists inside the list put in place: an alias of a YAML list can then be extended."""
    return [inner for item in items for inner in (_spliced(item) if isinstance(item, list) else [item])]


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
    """``--set key=value`` -> (key, value); the value is YAML.

    Raises:
        UserError: if there is no ``=``, or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"--set {text}: expected key=value, such as task:trainer.max_steps=100")
    try:
        return key, parse_yaml(value)
    except Exception as error:
        raise UserError(f"--set {text}: the value is not YAML") from error
