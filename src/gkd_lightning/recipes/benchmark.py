"""A folder of recipes that make one benchmark together: which rows there are, and how a profile shrinks them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gkd_lightning.data.fakes import FAKES, write_fake
from gkd_lightning.errors import UserError, nearest
from gkd_lightning.files import shipped_root
from gkd_lightning.recipes.recipe import EVALUATE, Recipe
from gkd_lightning.recipes.recipe_reader import load_recipe
from gkd_lightning.recipes.yaml_text import read_yaml

FULL = "full"
"""The profile that changes nothing."""

_FAKE = ("images", "width", "height")
"""What a profile says of each imitation."""


@dataclass(frozen=True)
class Part:
    """One recipe of a benchmark and the rows of it that are wanted.

    Attributes:
        name: the recipe's file name without its suffix, such as ``gtav``.
        recipe: the recipe itself.
        methods: ids of the wanted rows, in the recipe's order.
    """

    name: str
    recipe: Recipe
    methods: tuple[str, ...]


@dataclass(frozen=True)
class Profile:
    """What a profile changes.

    Attributes:
        name: such as ``smoke``.
        settings: ``key=value`` on top of every recipe, as `gkd run --set` takes them.
        fakes: data sets of which imitations are written, and the arguments of `write_fake`.
    """

    name: str
    settings: tuple[str, ...] = ()
    fakes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def settings_for(self, recipe: Recipe) -> tuple[str, ...]:
        """Its settings, without those for stages that the recipe has not: one profile serves all benchmarks."""
        places = (*recipe.stage_names, EVALUATE)
        scoped = {text: text.partition("=")[0].rpartition(":")[0] for text in self.settings}
        return tuple(text for text, scope in scoped.items() if not scope or scope in places)

    def prepare(self, folder: Path) -> None:
        """Write the imitations that are not there yet below `folder` and let GKD_DATA name it, if there are any."""
        if not self.fakes:
            return
        for name, arguments in self.fakes.items():
            if not (folder / name).exists():
                write_fake(name, folder / name, arguments["images"], (arguments["width"], arguments["height"]))
        os.environ["GKD_DATA"] = str(folder.resolve())


def row_name(part: str, method: str) -> str:
    """What a user types for one row: ``deit-s-gtav``."""
    return f"{method}-{part}".replace("_", "-")


def load_benchmark(family: str, rows: Sequence[str] = ()) -> list[Part]:
    """The recipes below ``experiments/FAMILY``: those that others extend first, then by name.

    Args:
        family: a folder of shipped recipes, such as ``f2l``.
        rows: only these, see `row_name`; empty for all.

    Raises:
        UserError: no such folder or row.
    """
    folder = shipped_root() / "experiments" / family
    paths = sorted(folder.glob("*.yaml"), key=lambda path: ("extends" in read_yaml(path), path.stem))
    if not paths:
        raise UserError(f"{family}: no recipes in experiments/{family}")
    every = [(path.stem, load_recipe(str(path))) for path in paths]
    names = {row_name(stem, method.id): (stem, method.id) for stem, recipe in every for method in recipe.methods}
    for row in rows:
        if row not in names:
            raise UserError(f"{row}: no such row in {family}{nearest(row, names)} (see --dry-run for all)")
    chosen = {names[row] for row in rows} if rows else set(names.values())
    parts = [
        Part(stem, recipe, tuple(method.id for method in recipe.methods if (stem, method.id) in chosen))
        for stem, recipe in every
    ]
    return [part for part in parts if part.methods]


def load_profile(name: str) -> Profile:
    """``full``, or one of ``configs/profile``.

    Raises:
        UserError: no such profile.
    """
    if name == FULL:
        return Profile(FULL)
    folder = shipped_root() / "configs/profile"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = [FULL, *sorted(found.stem for found in folder.glob("*.yaml"))]
        raise UserError(f"profile {name}: no such profile{nearest(name, known)} (one of {', '.join(known)})")
    return read_profile(path)


def read_profile(path: Path) -> Profile:
    """A profile's file.

    Raises:
        UserError: an unknown key, or an imitation without its number and size of images.
    """
    value = read_yaml(path)
    _known(path, "", value, ("set", "fakes"))
    fakes = value.get("fakes") or {}
    _known(path, "fakes.", fakes, FAKES)
    for name, arguments in fakes.items():
        _known(path, f"fakes.{name}.", arguments, _FAKE)
        if absent := [key for key in _FAKE if key not in arguments]:
            raise UserError(f"{path}: fakes.{name}.{absent[0]}: is missing")
    settings = tuple(f"{key}={json.dumps(setting)}" for key, setting in (value.get("set") or {}).items())
    return Profile(path.stem, settings, fakes)


def _known(path: Path, where: str, value: Any, known: Iterable[str]) -> None:
    if not isinstance(value, Mapping):
        raise UserError(f"{path}: {where.rstrip('.') or 'the file'}: expected keys and values")
    for key in value:
        if key not in known:
            raise UserError(f"{path}: {where}{key}: unknown key{nearest(str(key), known)}")
