"""What users may set: numbers within ranges, and null where it means something; constructors' signatures say which."""

from __future__ import annotations

import functools
import inspect
import math
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from gkd_lightning.errors import UserError


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`, the ends included unless `without` names them."""

    least: float
    most: float
    without: Literal["", "least", "most", "both"] = ""

    def holds(self, value: Any) -> bool:
        """Whether a number lies inside; NaN never does."""
        above = value > self.least if self.without in ("least", "both") else value >= self.least
        return bool(above and (value < self.most if self.without in ("most", "both") else value <= self.most))

    def __str__(self) -> str:
        low = "above" if self.without in ("least", "both") else "at least"
        return f"{low} {self.least} and {'below' if self.without in ('most', 'both') else 'at most'} {self.most}"


@dataclass(frozen=True)
class Ascending:
    """A pair whose first number is not the larger one."""


NO_NULL = "null; give a value, or leave the key out"
MANY = 10**9
"""More steps, images or channels than anybody has."""
LARGE = 10**6
"""A weight or rate above it is a slip."""

Weight = Annotated[float, Range(0, LARGE)]
"""Of a term, 0 leaves it out."""
Positive = Annotated[float, Range(0, LARGE, without="least")]
Share = Annotated[float, Range(0, 1)]
"""A share or probability that may be nothing or all."""
SomeShare = Annotated[float, Range(0, 1, without="least")]
InnerShare = Annotated[float, Range(0, 1, without="both")]
Momentum = Annotated[float, Range(0, 1, without="most")]
Count = Annotated[int, Range(1, MANY)]
Natural = Annotated[int, Range(0, MANY)]
Pixels = Annotated[int, Range(1, 2**16)]
"""Side of an image, a crop or a patch."""
Classes = Annotated[int, Range(1, 255)]
"""Train ids are bytes, and 255 is none."""
Seed = Annotated[int, Range(0, 2**32 - 1)]


class Ranged:
    """A part whose constructor refuses numbers outside the ranges of its signature, whoever calls it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Look at the arguments before the constructor does."""
        part = super().__new__(cls)
        try:
            bound = inspect.signature(cls.__init__).bind(part, *args, **kwargs).arguments
        except TypeError:  # a copy is made without arguments; a wrong call fails in the constructor, which says why
            return part
        check_arguments(cls, {**bound, **kwargs})
        return part


def check_arguments(kind: type, values: Mapping[str, Any], where: str = "") -> None:
    """Hold the arguments of a constructor against its signature, and what they hold against theirs.

    Args:
        kind: the class, whose keyword arguments may be those of its bases.
        values: arguments by name, or a configuration: mappings with `class_path` and `init_args` stand for objects.
        where: dotted key of the object, for the message.

    Raises:
        UserError: names the key, the value and the range.
    """
    for name, hint in _hints(kind).items():
        if name in values:
            for problem in _problems(hint, values[name], f"{where}.{name}" if where else name):
                raise UserError(problem)


def check_numbers(config: Any, roots: Mapping[str, type]) -> None:
    """Hold every number and every null of a configuration against the signature that it is for.

    Args:
        config: as parsed: its classes are imported.
        roots: class behind each section that names none, such as ``{"trainer": Trainer}``.

    Raises:
        UserError: as `check_arguments` and `check_finite`.
    """
    for name, value in _items(config):
        for problem in () if value is None else _problems(roots.get(name), value, name):
            raise UserError(problem)


def check_finite(config: Any, where: str = "") -> None:
    """Hold the numbers of a configuration against what none may be; its classes are not needed, nor imported.

    Raises:
        UserError: names the key of a number that is not finite.
    """
    if isinstance(config, Mapping):
        for name, value in config.items():
            key = f"{where}.{name}" if where else str(name)
            check_finite(value, where if name == "init_args" else key)  # the key that users type
    elif isinstance(config, list | tuple):
        for place, item in enumerate(config):
            check_finite(item, f"{where}[{place}]" if isinstance(item, float) else where)  # as the parser names objects
    elif isinstance(config, float) and not math.isfinite(config):
        raise UserError(f"{where}: {config}; give a finite number")


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    """Types of a constructor's arguments; one that is null unless it is given may be null."""
    found: dict[str, Any] = {}
    for base in reversed(inspect.getmro(kind)):
        if "__init__" in vars(base):
            constructor = vars(base)["__init__"]
            try:
                hints = get_type_hints(base if is_dataclass(base) else constructor, include_extras=True)
                usual = inspect.signature(constructor).parameters
            except Exception:  # an annotation that only a type checker can resolve: no ranges
                continue
            found |= {
                name: hint | None if name in usual and usual[name].default is None else hint
                for name, hint in hints.items()
            }
    return found


def _takes_null(hint: Any) -> bool:
    """Whether a type has null among its values; of a type that says nothing, too."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _takes_null(inner[0])
    if origin in (Union, types.UnionType):
        return any(_takes_null(option) for option in inner)
    if origin is Literal:
        return None in inner
    return hint in (None, types.NoneType, object) or not (origin or isinstance(hint, type))


def _problems(hint: Any, value: Any, where: str) -> Iterator[str]:
    """What is wrong with the numbers and nulls of a value; other values of a wrong type are the parser's to tell."""
    if value is None:  # which the parser takes for any type
        if not _takes_null(hint):
            yield f"{where}: {NO_NULL}"
        return
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{where}: {value}; give a finite number"
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        for limit in hint.__metadata__:
            yield from _outside(limit, value, where)
        yield from _problems(inner[0], value, where)
    elif origin in (Union, types.UnionType):
        for option in inner:
            yield from _problems(option, value, where)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            of_item = inner[min(place, len(inner) - 1)] if origin in (list, tuple, Sequence) else None
            inside = f"{where}[{place}]" if isinstance(item, int | float) else where  # as the parser names objects
            yield from _problems(inner[0] if of_item is Ellipsis else of_item, item, inside)
    elif isinstance(value, Mapping) or hasattr(value, "as_dict"):
        yield from _inside(hint, dict(_items(value)), where)


def _outside(limit: Any, value: Any, where: str) -> Iterator[str]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(limit, Range) and number and not limit.holds(value):
        yield f"{where}: {value if isinstance(value, int) else format(value, '.9g')}; give a number {limit}"
    if isinstance(limit, Ascending) and isinstance(value, list | tuple) and len(value) == 2 and value[0] > value[1]:
        yield f"{where}: {list(value)}; give the smaller number first"


def _inside(hint: Any, values: dict[str, Any], where: str) -> Iterator[str]:
    """Of a mapping: arguments of the class that it names or that its hint is, or values by name."""
    kind: Any = hint if isinstance(hint, type) else None
    if "class_path" in values:
        kind = class_of(values)
        values = dict(_items(values.get("init_args") or {}))
    hints = _hints(kind) if kind is not None else {}
    of_values = get_args(hint)[1] if get_origin(hint) in (dict, Mapping) else None
    for name, value in values.items():
        yield from _problems(hints.get(name, of_values), value, f"{where}.{name}")


def class_of(config: Mapping[str, Any]) -> type:
    """The class that a parsed configuration, whose classes are imported, names; `object` if it is none."""
    module, _, name = str(config["class_path"]).rpartition(".")
    found = getattr(sys.modules.get(module), name, None)
    return found if isinstance(found, type) else object


def _items(config: Any) -> Iterator[tuple[str, Any]]:
    yield from (config if isinstance(config, Mapping) else vars(config)).items()
