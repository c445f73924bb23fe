"""Rows of a recipe that follow from other rows: kept from the recipe that is extended, or like another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gkd_lightning.errors import UserError, nearest
from gkd_lightning.recipes.recipe import EVALUATE

Rows = Mapping[str, Any]
"""The `methods` section of a recipe, as it stands in the file."""


def kept(rows: Rows, keep: Any, path: Path) -> dict[str, Any]:
    """The rows that `keep` names; None keeps all.

    Raises:
        UserError: `keep` is no list, or names a row that is not there.
    """
    if keep is None:
        return dict(rows)
    if not isinstance(keep, list):
        raise UserError(f"{path}: keep: expected a list of rows such as [gkd]")
    for name in keep:
        if name not in rows:
            raise UserError(f"{path}: keep: '{name}' is no row of what is extended{nearest(str(name), rows)}")
    return {name: rows[name] for name in keep}


def forget_lost_stages(inherited: Rows, rows: Rows, own: Rows) -> None:
    """Drop what an extended recipe says about stages that no row has any more, in place.

    Args:
        inherited: the extended recipe.
        rows: those that are kept of it, and the new ones, with their stages.
        own: the recipe that extends it: what it says itself is left to be complained about.
    """
    stages = [stage for row in rows.values() if isinstance(row, Mapping) for stage in row.get("stages") or ()]
    names = {stage.get("name") for stage in stages if isinstance(stage, Mapping)} | {EVALUATE}
    common, ours = inherited.get("common") or {}, own.get("common") or {}
    for section, said in (
        (inherited.get("set") or {}, own.get("set") or {}),
        (common.get("set") or {}, ours.get("set") or {}),
        (common.get("stages") or {}, ours.get("stages") or {}),
    ):
        for key in list(section):
            scope, colon, _ = key.partition(":")
            if (colon or section is common.get("stages")) and scope not in names and key not in said:
                del section[key]


def alike(rows: Rows, known: Rows, path: Path) -> dict[str, Any]:
    """Rows with ``like: other`` get the stages and the `set` of the other, under their own `set`.

    Args:
        rows: those of the recipe.
        known: all that can be named: these, and those of the recipe that is extended.
        path: the file, for messages.

    Raises:
        UserError: no such row, one that is like itself, or a row that has stages of its own.
    """
    return {name: _alike(name, row, known, path, ()) for name, row in rows.items()}


def _alike(name: str, row: Any, known: Rows, path: Path, visited: tuple[str, ...]) -> Any:
    if not isinstance(row, Mapping) or "like" not in row:
        return row
    where, wanted = f"{path}: methods.{name}.like", row["like"]
    other = known.get(wanted) if isinstance(wanted, str) else None
    if not isinstance(other, Mapping):
        raise UserError(f"{where}: '{wanted}' is no row{nearest(str(wanted), known)}")
    if "stages" in row:
        raise UserError(f"{where}: the row has stages of its own")
    if wanted in (name, *visited):
        raise UserError(f"{where}: the row would be like itself")
    other = _alike(wanted, other, known, path, (name, *visited))
    sets = [each.get("set") or {} for each in (other, row)]
    if not all(isinstance(each, Mapping) for each in sets):
        raise UserError(f"{path}: methods.{name}.set: expected keys and values")
    own = {key: value for key, value in row.items() if key != "like"}
    return {**own, "stages": other.get("stages"), "set": {**sets[0], **sets[1]}}
