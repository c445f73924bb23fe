"""The long messages of the configuration parser, retold in one line with the dotted key and the nearest valid one."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import types
import typing
from collections.abc import Iterable
from typing import Any

from gkd_lightning.errors import nearest
from gkd_lightning.recipes.renamed_classes import present_class_path

_SECTION = re.compile(r"""^(?:Parser key|Problem with given class_path|Group) ["'](?P<name>[^"']+)["'](?P<rest>.*)$""")
_OPTION = re.compile(r"^Option '(?P<key>[^']+)' is not accepted")
_UNRECOGNIZED = re.compile(r"^unrecognized arguments: (?P<keys>.+)$")
_EXPECTED = re.compile(r"^Expected an? (?P<type>.+?)\. Got value: (?P<value>.*)$")
_CHOICES = re.compile(r"^Expected an? typing\.Literal\[(?P<values>.*)\]$")
_REQUIRED = re.compile(r"""^(?:the following arguments are required: |(?:Option|Key) ["'])(?P<key>[\w.,]+)""")
_ABSTRACT = re.compile(r"^Expected an instantiatable class, but (?P<name>\S+) is abstract")
_GIVEN = re.compile(r"^Given value: (?P<value>.{1,80})$")

_BESIDE = "expected class_path and init_args, nothing beside them"


def explain(message: str, roots: dict[str, type]) -> str:
    """One line for the text of a parsing error.

    Args:
        message: the parser's text; sections nest by indentation.
        roots: class behind each top-level section, such as ``{"trainer": Trainer}``; keys are its candidates.
    """
    best = _Place((), None, " ".join(message.split())[:400])
    stack: list[tuple[int, _Place]] = []
    choices: dict[tuple[str, ...], list[str]] = {}
    for line in message.splitlines():
        if not line.strip():
            continue
        text = line.strip().removeprefix("- ").strip()
        indent = len(line) - len(line.lstrip())
        while stack and stack[-1][0] >= indent:
            stack.pop()
        outer = stack[-1][1] if stack else _Place((), None, "")
        if match := _CHOICES.match(text):
            choices.setdefault(outer.path, []).extend(re.findall(r"'([^']*)'", match["values"]))
        place = _enter(outer, text, roots)
        if place is None:
            continue
        if place.problem:
            if "NoneType" not in place.problem and (len(place.path) > len(best.path) or not best.told):
                hint = _among(choices[place.path], place.problem) if place.path in choices else ""
                best = dataclasses.replace(place, problem=place.problem + hint, told=True)
            continue
        stack.append((indent, place))
    return best.line()


def _among(choices: list[str], problem: str) -> str:
    return f"{nearest(problem.rsplit(maxsplit=1)[-1], choices)} ({', '.join(choices)})"


@dataclasses.dataclass(frozen=True)
class _Place:
    path: tuple[str, ...]
    owner: Any
    problem: str
    told: bool = False

    def line(self) -> str:
        return f"{'.'.join(self.path)}: {self.problem}" if self.path else self.problem


def _enter(outer: _Place, text: str, roots: dict[str, type]) -> _Place | None:
    """The section that a line opens (no problem), the problem that it tells, or None for filling."""
    if match := _UNRECOGNIZED.match(text):
        return _unknown(outer, match["keys"].split()[0].split("=")[0], roots)
    if match := _OPTION.match(text):
        return _unknown(outer, match["key"], roots)
    if match := _REQUIRED.match(text):
        return _Place((*outer.path, match["key"].split(",")[0]), None, "is required")
    if match := _GIVEN.match(text):
        return _Place(outer.path, None, f"cannot be {match['value']}") if outer.path else None
    if match := _ABSTRACT.match(text):
        missing = ", ".join(sorted(getattr(_import(match["name"]), "__abstractmethods__", ())))
        return _Place((*outer.path, "class_path"), None, f"{match['name']} does not define {missing}")
    if match := _EXPECTED.match(text):
        kind = match["type"].replace("<class '", "").replace("'>", "").replace("typing.", "")
        return _Place(outer.path, None, f"expected {kind}, got {match['value'] or 'nothing'}")
    if match := _SECTION.match(text):
        name, rest = match["name"], match["rest"].removeprefix(":").strip()
        if text.startswith("Group"):
            option = re.search(r"does not accept option '([^']+)'", rest)
            inner = _Place((*outer.path, *name.split(".")), _step(outer.owner, name, roots), "")
            return _unknown(inner, option.group(1), roots) if option else None
        if text.startswith("Problem") and (moved := present_class_path(name)):
            return _Place((*outer.path, "class_path"), None, f"{name} is now {moved}")
        if text.startswith("Problem"):
            owner = _import(name)
            place = _Place(outer.path, owner, "")
            return dataclasses.replace(place, problem=f"{name}: {rest}") if rest else place
        path = (*outer.path, *name.split("."))
        return _Place(path, _step(outer.owner, name, roots), rest)
    if text.startswith("Not a valid subclass of"):
        settings = (
            [each.name for each in dataclasses.fields(outer.owner)] if dataclasses.is_dataclass(outer.owner) else []
        )
        return _Place(outer.path, None, f"expected settings by name ({', '.join(settings)})" if settings else _BESIDE)
    if re.search(r"has no attribute|No module named|not a subclass|is not a class|Import path", text):
        return _Place((*outer.path, "class_path"), None, text.rstrip("."))
    return None


def _unknown(outer: _Place, option: str, roots: dict[str, type]) -> _Place:
    dashes = "--" if option.startswith("--") and not outer.path else ""
    parts = option.removeprefix("--").removeprefix("init_args.").split(".")
    owner, path = outer.owner, list(outer.path)
    while len(parts) > 1:
        step = _step(owner, parts[0], roots)
        if step is None and parts[0] not in _names(owner, roots, not path):
            break
        owner = step
        path.append(parts.pop(0))
    if parts[0] == "class_path":  # beside other keys, so it was taken for an argument of the default's class
        return _Place(tuple(path), None, _BESIDE)
    candidates = _names(owner, roots, not path)
    if len(path) == 1 and owner is roots.get(path[0]) and not candidates:  # a base without settings: which class?
        return _Place((*path, "class_path"), None, f"is required before its settings ({parts[0]})")
    hint = nearest(parts[0], candidates)
    return _Place((*path, *parts) if not dashes else (dashes + ".".join([*path, *parts]),), None, f"unknown key{hint}")


def _names(owner: Any, roots: dict[str, type], top: bool) -> list[str]:
    if owner is None:
        return list(roots) if top else []
    if dataclasses.is_dataclass(owner):
        return [item.name for item in dataclasses.fields(owner)]
    names: dict[str, None] = {}
    for base in inspect.getmro(owner):
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            names.update((item.name, None) for item in parameters if item.kind not in (item.VAR_KEYWORD,))
            if not any(item.kind is item.VAR_KEYWORD for item in parameters):
                break
    return [name for name in names if name not in ("self", "args", "kwargs")]


def _step(owner: Any, name: str, roots: dict[str, type]) -> Any:
    """The class of a class's argument, where its annotation names one."""
    for part in name.split("."):
        if owner is None:
            owner = roots.get(part)
            continue
        try:
            bases = (
                [owner]
                if dataclasses.is_dataclass(owner)
                else [vars(base)["__init__"] for base in inspect.getmro(owner) if "__init__" in vars(base)]
            )
            hints = (typing.get_type_hints(each) for each in bases)
            annotation = next((found[part] for found in hints if part in found), None)
        except Exception:  # an annotation that only a type checker can resolve: no candidates, the message stays
            return None
        owner = next((kind for kind in _classes(annotation)), None)
    return owner


def _classes(annotation: Any) -> Iterable[type]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, dict):  # of a mapping: of its values
        for option in typing.get_args(annotation):
            yield from _classes(option)
    elif isinstance(annotation, type) and annotation.__module__ != "builtins":
        yield annotation


def _import(class_path: str) -> Any:
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception:  # the parser's own message says that it cannot be imported
        return None
    return found if isinstance(found, type) else None
