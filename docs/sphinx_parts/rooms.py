"""A reference page for every room of the house, from the names that its `__init__` offers and their docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import textwrap
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from sphinx.pycode import ModuleAnalyzer

import gkd_lightning

DIRECTIVES = {"Classes": "autoclass", "Functions": "autofunction"}
CONSTANTS = "Constants and types"
FLOOR = ("ranges", "errors")


def rooms() -> Iterator[ModuleType]:
    """The package, then all inside it that list names, outer before inner ones, and what users meet of the floor."""
    yield gkd_lightning
    for found in pkgutil.walk_packages(gkd_lightning.__path__, "gkd_lightning."):
        if found.ispkg:
            module = importlib.import_module(found.name)
            if hasattr(module, "__all__"):
                yield module
    yield from (importlib.import_module(f"gkd_lightning.{name}") for name in FLOOR)


def names_of(module: ModuleType) -> dict[str, Any]:
    """What a room offers, by name; imported, and from now on among the module's own names."""
    listed = getattr(module, "__all__", None) or getattr(module, "_OFFERED", None) or defined(module)
    for name in listed:
        setattr(module, name, getattr(module, name))
    return {name: getattr(module, name) for name in sorted(listed, key=str.lower)}


def pages() -> dict[str, str]:
    """The text of every room's page, by the room's name."""
    described: dict[int, str] = {}
    found = {module.__name__: page(module, described) for module in rooms()}
    return {name: text for name, text in found.items() if text}


def defined(module: ModuleType) -> list[str]:
    """Names without underscore that a module's own lines define."""
    names = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [name for name in names if not name.startswith("_")]


def type_names() -> dict[str, str]:
    """Full names of types such as `Weight`, by which signatures call them; names that mean two things are left out."""
    found: dict[str, list[str]] = {}
    for module in rooms():
        for name, value in names_of(module).items():
            if not inspect.isclass(value) and typing.get_origin(value) is not None:
                found.setdefault(name, []).append(f"{module.__name__}.{name}")
            elif inspect.isclass(value):
                found.setdefault(name, [])
    return {name: places[0] for name, places in found.items() if len(places) == 1}


def page(module: ModuleType, described: dict[int, str]) -> str:
    """The text of a room's page; empty if outer rooms describe all that it offers.

    Args:
        module: the room.
        described: the full names of what earlier pages describe, by `id`; what this page describes joins them.
    """
    sections: dict[str, list[str]] = {"Classes": [], "Functions": [], CONSTANTS: []}
    room = module.__name__
    elsewhere = []
    for name, value in names_of(module).items():
        kind = "Classes" if inspect.isclass(value) else "Functions" if inspect.isroutine(value) else CONSTANTS
        if kind != CONSTANTS and described.setdefault(id(value), f"{room}.{name}") != f"{room}.{name}":
            elsewhere.append(f"`{described[id(value)]}`")
        else:
            sections[kind].append(name)
    if not any(sections.values()):
        return ""
    parts = [f"{room}\n{'=' * len(room)}", f".. automodule:: {room}\n   :no-members:", f".. currentmodule:: {room}"]
    if elsewhere:
        parts.append(f"Also offered here: {', '.join(elsewhere)}.")
    for kind, directive in DIRECTIVES.items():
        if names := sections[kind]:
            parts += [
                f"{kind}\n{'-' * len(kind)}",
                ".. autosummary::\n   :nosignatures:\n\n" + "\n".join(f"   {name}" for name in names),
            ]
            parts += [f".. {directive}:: {name}{_options(getattr(module, name))}" for name in names]
    if sections[CONSTANTS]:
        parts += [f"{CONSTANTS}\n{'-' * len(CONSTANTS)}", *(constant(module, name) for name in sections[CONSTANTS])]
    return "\n\n".join(parts) + "\n"


def _options(value: Any) -> str:
    """Of a class: its members, and what it derives from if that says something."""
    if not inspect.isclass(value):
        return ""
    return "\n   :members:" + ("" if value.__bases__ == (object,) else "\n   :show-inheritance:")


def overview(names: list[str]) -> str:
    """The page that leads to the rooms: each with the first sentence of its docstring."""
    rows, entries = [], []
    for name in names:
        text = (importlib.import_module(name).__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        rows.append(f"* - :doc:`{name} <python/{name}>`\n     - {text}")
        entries.append(f"{name.removeprefix('gkd_lightning.')} <python/{name}>")
    table = ".. list-table::\n   :widths: 30 70\n\n   " + "\n   ".join(rows)
    menu = ".. toctree::\n   :hidden:\n\n   " + "\n   ".join(entries)
    return f"Python\n======\n\nNames are imported from these rooms; what lies deeper may move.\n\n{table}\n\n{menu}\n"


def constant(module: ModuleType, name: str) -> str:
    """A constant or a type's name, with the sentence below its definition; long values are left out."""
    value = getattr(module, name)
    shown = str(value).replace("typing.", "").replace("collections.abc.", "")
    if isinstance(value, str | tuple | int):
        shown = repr(value)
    elif typing.get_origin(value) is typing.Annotated:
        shown = f"{value.__origin__.__name__}, {', '.join(map(str, value.__metadata__))}"
    elif type(value).__module__ != "types" and not shown.startswith("Literal"):
        shown = ""
    comment = ModuleAnalyzer.for_module(origin(module, name)).find_attr_docs().get(("", name), [])
    head = f".. py:data:: {name}\n" + (f"   :value: {shown}\n" if shown else f"   :type: {type(value).__name__}\n")
    return head + "\n" + textwrap.indent("\n".join(comment).rstrip(), "   ")


def origin(module: ModuleType, name: str) -> str:
    """The module that defines `name`, which `module` may only hand on."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and node.module and any(alias.name == name for alias in node.names):
            return origin(importlib.import_module(node.module), name)
    return module.__name__
