"""Another fragment in the place of one that a recipe names: another teacher, student, source or proxy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gkd_lightning.errors import UserError, nearest
from gkd_lightning.recipes.fragments import Fragment

FRAGMENT = ".yaml"
"""How the name of a fragment ends, and no dotted key."""


@dataclass
class Swap:
    """``--set old.yaml=new.yaml``.

    Attributes:
        scope: name of the stage it is meant for, or ``evaluate``; None for all.
        old: a fragment, as the recipe names it.
        new: the one that takes its place.
        where: who asks for it, for messages.
        seen: fragments that recipes named where it could have applied.
    """

    scope: str | None
    old: str
    new: Any
    where: str = "--set "
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not isinstance(self.new, str) or not self.new.endswith(FRAGMENT):
            raise UserError(f"{self.where}{self.old}={self.new}: give another fragment, a file that ends in {FRAGMENT}")


def swapped(fragments: Iterable[Fragment], swaps: Sequence[Swap], place: str) -> list[Fragment]:
    """The fragments of a stage (or of the evaluation), with others in their places."""
    found = list(fragments)
    for swap in swaps:
        if swap.scope in (None, place):
            found = [_one(fragment, swap) for fragment in found]
    return found


def require_used(swaps: Iterable[Swap]) -> None:
    """Complain about a swap that changed nothing.

    Raises:
        UserError: no stage uses the fragment; the message names the nearest one in use.
    """
    for swap in swaps:
        if swap.old not in swap.seen:
            used = ", ".join(sorted(swap.seen))
            raise UserError(
                f"{swap.where}{swap.old}: not used by this recipe{nearest(swap.old, swap.seen)} (used: {used})"
            )


def _one(fragment: Fragment, swap: Swap) -> Fragment:
    if isinstance(fragment, str):
        swap.seen.add(fragment)
        return swap.new if fragment == swap.old else fragment
    swap.seen |= set(fragment.values())
    return {key: swap.new if name == swap.old else name for key, name in fragment.items()}
