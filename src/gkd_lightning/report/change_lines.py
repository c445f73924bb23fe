"""What changed against another run, as plain cells and as text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gkd_lightning.evaluate import VISIBLE, Change, MethodChange
from gkd_lightning.report.claims import signed

SHOWN = 3
"""Classes, and images, that are named of a domain and a direction."""


@dataclass(frozen=True)
class ChangeLine:
    """One domain of one method; texts, with `kind` ``up``, ``down`` or ``level``."""

    domain: str
    kind: str
    before: str
    after: str
    points: str
    classes_won: str
    classes_lost: str
    images_won: str
    images_lost: str


@dataclass(frozen=True)
class MethodLines:
    """One method's table."""

    title: str
    note: str
    lines: list[ChangeLine]


def change_lines(found: Sequence[MethodChange]) -> list[MethodLines]:
    """A table for each method: the unseen mean, then every domain."""
    tables = []
    for method in found:
        lines = [_line(method.unseen, [], [])] if any(not each.seen for each in method.domains) else []
        lines += [_line(each.miou, each.classes, each.images) for each in method.domains]
        seeds = [len(each) for each in method.seeds]
        note = "" if seeds == [1, 1] else f"Means over {seeds[0]} and {seeds[1]} seeds."
        tables.append(MethodLines(method.title, note, lines))
    return tables


def change_text(found: Sequence[MethodChange]) -> str:
    """A line for each method and domain."""
    lines = []
    for table in change_lines(found):
        for line in table.lines:
            images = f"; images won {line.images_won}, lost {line.images_lost}" if line.images_won else ""
            classes = f"; classes won: {line.classes_won or 'none'}; lost: {line.classes_lost or 'none'}"
            told = f"{table.title}, {line.domain}: {line.before} to {line.after} ({line.points})"
            lines.append(told + (classes if line.classes_won or line.classes_lost else "") + images)
    return "\n".join(lines)


def _line(miou: Change, classes: list[Change], images: list[Change]) -> ChangeLine:
    points = signed(miou.points)
    kind = "level" if abs(miou.points) < VISIBLE else "up" if miou.points > 0 else "down"
    numbers = (f"{miou.before:.1f}", f"{miou.after:.1f}", points)
    names = (_named(_won(classes)), _named(_lost(classes)))
    return ChangeLine(
        miou.name, kind, *numbers, *names, _counted(_won(images), images), _counted(_lost(images), images)
    )


def _won(found: list[Change]) -> list[Change]:
    return [each for each in found if each.points >= VISIBLE]


def _lost(found: list[Change]) -> list[Change]:
    return [each for each in reversed(found) if each.points <= -VISIBLE]


def _named(found: list[Change]) -> str:
    return ", ".join(f"{each.name} {signed(each.points)}" for each in found[:SHOWN])


def _counted(found: list[Change], of: list[Change]) -> str:
    if not of:
        return ""
    return f"{len(found)} of {len(of)}" + (f": {_named(found)}" if found else "")
