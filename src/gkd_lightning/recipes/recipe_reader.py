"""Reads a recipe's YAML: names and kinds are checked, and every complaint begins with the file and the dotted key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, cast, get_args

from gkd_lightning.errors import UserError, nearest
from gkd_lightning.files import shipped_root
from gkd_lightning.recipes.fragments import Fragment, find_fragment, merge
from gkd_lightning.recipes.inherited_rows import alike, forget_lost_stages, kept
from gkd_lightning.recipes.recipe import (
    EVALUATE,
    PREVIOUS,
    Basis,
    MethodRecipe,
    Recipe,
    Role,
    StageRecipe,
    split_scope,
)
from gkd_lightning.recipes.rivals import Rival, read_rivals
from gkd_lightning.recipes.yaml_text import read_yaml


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
    base, keep = value.pop("extends", None), value.pop("keep", None)
    if base is None:
        if keep is not None:
            raise UserError(f"{path}: keep: names rows of the recipe that is extended, and none is")
        if isinstance(value.get("methods"), dict):
            value["methods"] = alike(value["methods"], value["methods"], path)
        return value
    if not isinstance(base, str):
        raise UserError(f"{path}: extends: expected the name of a recipe")
    beside = path.parent / base
    base_path = beside if beside.is_file() else find_recipe(base)
    inherited = _extended(base_path, (*visited, path.resolve()))
    for key in ("basis", "published", "published_in", "rivals"):  # true of the base's own sources and targets alone
        inherited.pop(key, None)
    known = inherited.get("methods") or {}
    methods = merge({"methods": kept(known, keep, path)}, {"methods": value.pop("methods", None) or {}})["methods"]
    if isinstance(methods, dict):
        methods = alike(methods, {**known, **methods}, path)
        if keep is not None:
            forget_lost_stages(inherited, methods, value)
    return {**merge(inherited, value), "methods": methods}


_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")


class _Reader:
    """One file's mapping turned into a `Recipe`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def recipe(self, value: dict[str, Any]) -> Recipe:
        self.keys(
            value, "", "name", "title", "description", "seeds", "common", "methods", "evaluate", "set", "teacher",
            "highlight", "basis", "published", "published_in", "rivals",
        )  # fmt: skip
        name = self.text(value, "", "name", self.path.stem)
        self.plain("name", name)
        common, common_set = self.section(value, "common", "stages")
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
        if len(set(seeds)) < len(seeds):
            raise self.wrong("seeds", f"one of them is there twice in {seeds}")
        published = self.published(value.get("published"), methods)
        basis = self.basis(value.get("basis"), "basis")
        recipe = Recipe(
            name=name,
            title=self.text(value, "", "title", name),
            description=self.text(value, "", "description", ""),
            seeds=tuple(seeds),
            common=common,
            common_stages=self.stage_fragments(value.get("common")),
            common_set=common_set,
            methods=tuple(
                self.method(key, item, published, basis) for key, item in methods.items() if item is not None
            ),
            evaluate=evaluate,
            evaluate_set=evaluate_set,
            published_in=self.text(value, "", "published_in", ""),
            teacher={key: str(item) for key, item in self.mapping(value.get("teacher"), "teacher").items()},
            highlight=highlight,
            overrides=self.mapping(value.get("set"), "set"),
            path=self.path,
            rivals=self.rivals(value),
        )
        for key in recipe.overrides:
            split_scope(key, recipe.stage_names)
        for name in recipe.common_stages:
            if name not in recipe.stage_names:
                raise self.wrong(
                    f"common.stages.{name}", f"no method has such a stage{nearest(name, recipe.stage_names)}"
                )
        return recipe

    def stage_fragments(self, common: Any) -> dict[str, tuple[Fragment, ...]]:
        where = "common.stages"
        found = self.mapping(self.mapping(common, "common").get("stages"), where)
        return {name: self.contents({"configs": configs}, f"{where}.{name}")[0] for name, configs in found.items()}

    def published(self, value: Any, methods: dict[str, Any]) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for method, row in self.mapping(value, "published").items():
            where = f"published.{method}"
            if method not in methods:
                raise self.wrong(where, f"'{method}' is no method{nearest(method, methods)}")
            for domain, score in self.mapping(row, where).items():
                if not isinstance(score, int | float):
                    raise self.wrong(f"{where}.{domain}", f"expected a number, found {score!r}")
                found.setdefault(method, {})[domain] = float(score)
        return found

    def rivals(self, value: dict[str, Any]) -> tuple[Rival, ...]:
        if "rivals" not in value:
            return ()
        return read_rivals(find_fragment(self.text(value, "", "rivals", None), self.path.parent))

    def basis(self, value: Any, where: str) -> Basis | None:
        if value is None:
            return None
        found = self.mapping(value, where)
        self.keys(found, where, "source", "why")
        source, why = self.text(found, where, "source", None), self.text(found, where, "why", None)
        if source not in ("official", "derived"):
            raise self.wrong(f"{where}.source", f"'{source}' is not official or derived")
        return Basis(cast(Literal["official", "derived"], source), why)

    def method(self, key: Any, value: Any, published: dict[str, dict[str, float]], basis: Basis | None) -> MethodRecipe:
        where = f"methods.{key}"
        if not isinstance(value, dict):
            raise self.wrong(where, "expected title and stages")
        self.plain(where, str(key))
        self.keys(value, where, "title", "stages", "role", "basis", "set")
        stages = value.get("stages")
        if not isinstance(stages, list) or not stages:
            raise self.wrong(f"{where}.stages", "expected a list with at least one stage")
        role = self.text(value, where, "role", "method")
        if role not in get_args(Role):
            raise self.wrong(f"{where}.role", f"'{role}' is not one of {', '.join(get_args(Role))}")
        read: list[StageRecipe] = []
        for index, item in enumerate(stages):
            read.append(self.stage(f"{where}.stages[{index}]", item, [stage.name for stage in read]))
        settings = self.mapping(value.get("set"), f"{where}.set")
        for setting in settings:
            if split_scope(setting, [stage.name for stage in read])[0] == EVALUATE:
                raise self.wrong(f"{where}.set.{setting}", "all rows are judged alike, see evaluate.set")
        return MethodRecipe(
            id=str(key),
            title=self.text(value, where, "title", str(key)),
            stages=tuple(read),
            role=cast(Role, role),
            basis=self.basis(value.get("basis"), f"{where}.basis") or basis,
            published=published.get(str(key), {}),
            set=settings,
        )

    def stage(self, where: str, value: Any, earlier: list[str]) -> StageRecipe:
        if not isinstance(value, dict):
            raise self.wrong(where, "expected name, configs and set")
        self.keys(value, where, "name", "configs", "set", "from", "to")
        name = self.text(value, where, "name", None)
        self.plain(f"{where}.name", name)
        if name in earlier:
            raise self.wrong(f"{where}.name", f"the method has two stages named '{name}'")
        configs, values = self.contents(value, where)
        return StageRecipe(name, configs, values, self.inputs(where, value, earlier))

    def inputs(self, where: str, value: dict[str, Any], earlier: list[str]) -> dict[str | None, str]:
        to = value.get("to")
        if to is not None and not isinstance(to, str):
            raise self.wrong(f"{where}.to", "expected a dotted key such as model.student.weights")
        start = value.get("from", PREVIOUS)
        if isinstance(start, dict):
            if to is not None:
                raise self.wrong(f"{where}.to", "the keys of `from` say it already")
            return {key: self.earlier(f"{where}.from.{key}", name, earlier) for key, name in start.items()}
        if start == PREVIOUS:
            return {to: earlier[-1]} if earlier else {}
        if start is None or start == "none":
            return {}
        return {to: self.earlier(f"{where}.from", start, earlier)}

    def earlier(self, where: str, name: Any, earlier: list[str]) -> str:
        if not isinstance(name, str):
            raise self.wrong(where, "expected the name of a stage")
        if name not in earlier:
            raise self.wrong(where, f"'{name}' is no stage above this one{nearest(name, [*earlier, 'none'])}")
        return name

    def section(self, value: dict[str, Any], key: str, *more: str) -> tuple[tuple[Fragment, ...], dict[str, Any]]:
        section = self.mapping(value.get(key), key)
        self.keys(section, key, "configs", "set", *more)
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

    def plain(self, where: str, name: str) -> None:
        """Names become folders and parts of scripts."""
        if not _PLAIN.fullmatch(name):
            raise self.wrong(where, f"{name!r} names a folder: letters, digits, - and _ only, 64 at most")

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
