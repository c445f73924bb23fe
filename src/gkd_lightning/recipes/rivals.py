"""Published numbers of methods that a recipe does not run, from a file that recipes of one setting share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gkd_lightning.errors import UserError, nearest
from gkd_lightning.recipes.yaml_text import read_yaml


@dataclass(frozen=True)
class Rival:
    """One row of somebody's table.

    Attributes:
        title: the method's name.
        backbone: which encoder or encoders it was measured with.
        source: where its numbers come from.
        scores: mIoU by domain in percent; ``mean`` is that over the unseen domains.
        crop: side in pixels of the crops that it was trained on; None if it is not said.
    """

    title: str
    backbone: str
    source: str
    scores: Mapping[str, float]
    crop: int | None = None


_TEXTS = ("title", "backbone", "source")


def read_rivals(path: Path) -> tuple[Rival, ...]:
    """The rows of a file such as ``configs/rivals/gtav.yaml``.

    Raises:
        UserError: an unknown or missing key, or a value of the wrong kind.
    """
    value = read_yaml(path)
    _known(path, "", value, ("rows",))
    rows = value.get("rows")
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: rows: expected a list with at least one row")
    return tuple(_rival(path, f"rows[{place}]", row) for place, row in enumerate(rows))


def _rival(path: Path, where: str, row: Any) -> Rival:
    _known(path, f"{where}.", row, (*_TEXTS, "crop", "scores"))
    for key in _TEXTS:
        if not isinstance(row.get(key), str):
            raise UserError(f"{path}: {where}.{key}: {'expected a text' if key in row else 'is missing'}")
    crop, scores = row.get("crop"), row.get("scores")
    if crop is not None and (not isinstance(crop, int) or crop < 1):
        raise UserError(f"{path}: {where}.crop: expected a side in pixels, found {crop!r}")
    if not isinstance(scores, Mapping) or not scores:
        raise UserError(f"{path}: {where}.scores: expected numbers by domain")
    for domain, score in scores.items():
        if not isinstance(score, int | float) or isinstance(score, bool) or not 0 <= score <= 100:
            raise UserError(f"{path}: {where}.scores.{domain}: expected mIoU in percent, found {score!r}")
    plain = {str(domain): float(score) for domain, score in scores.items()}
    return Rival(row["title"], row["backbone"], row["source"], plain, crop)


def _known(path: Path, where: str, value: Any, known: tuple[str, ...]) -> None:
    if not isinstance(value, Mapping):
        raise UserError(f"{path}: {where.rstrip('.') or 'the file'}: expected keys and values")
    for key in value:
        if key not in known:
            raise UserError(f"{path}: {where}{key}: unknown key{nearest(str(key), known)}")
