"""The house: imports point downwards, enter a room by its door, and never run in a circle."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlinter import cli

ROOT = Path(__file__).resolve().parents[1]
PRODUCT, HARNESS = ROOT / "src/gkd_lightning", ROOT / "benchmarks/gkd_bench"
LONGEST = 300


def modules(package: Path) -> dict[str, Path]:
    """File by dotted name; a package's is its ``__init__.py``."""
    files = sorted(package.rglob("*.py"))
    parts = {path: (package.name, *path.relative_to(package).with_suffix("").parts) for path in files}
    return {".".join(names[: len(names) - (names[-1] == "__init__")]): path for path, names in parts.items()}


def imported(path: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Line and module of every import of one of `known`, those inside functions and for type checkers included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names if name.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield node.lineno, inner if inner in known else node.module


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """One circle through each module that can reach itself, named once."""
    found: dict[frozenset[str], list[str]] = {}
    for start in graph:
        ways, waiting = {start: [start]}, [start]
        for here in waiting:
            for step in sorted(graph[here]):
                if step == start:
                    found.setdefault(frozenset(ways[here]), [*ways[here], start])
                elif step not in ways:
                    ways[step] = [*ways[here], step]
                    waiting.append(step)
    return list(found.values())


def test_imports_point_downwards(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    status = cli.lint_imports(no_cache=True)
    assert status == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_every_room_has_its_floor() -> None:
    """A new folder or file at the top would be under no contract."""
    layers = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("layers = [")[1].split("]")[0]
    rooms = {room(name) for name in modules(PRODUCT)} - {"", "assets"}
    assert rooms == {word.removeprefix("gkd_lightning.") for word in layers.replace('"', " ").split() if "." in word}


def test_rooms_are_entered_by_their_doors() -> None:
    """Another room imports from a package, such as `gkd_lightning.data` or `gkd_lightning.data.fakes`."""
    known = modules(PRODUCT)
    offenders = [
        f"{path.relative_to(ROOT)}:{line} imports from {module}, a file of another room"
        for name, path in known.items()
        for line, module in imported(path, known)
        if room(module) != room(name) and (PRODUCT / room(module)).is_dir() and known[module].name != "__init__.py"
    ]
    assert not offenders, "\n".join(offenders)


@pytest.mark.parametrize("package", [PRODUCT, HARNESS], ids=lambda package: package.name)
def test_no_circle_of_imports(package: Path) -> None:
    known = modules(package)
    graph = {name: {module for _, module in imported(path, known)} for name, path in known.items()}
    assert not [" -> ".join(circle) for circle in circles(graph)]


def test_a_circle_would_be_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a"}}
    assert circles(graph) == [["b", "c", "b"]]


@pytest.mark.parametrize("name", [name for name, path in modules(PRODUCT).items() if path.name == "__init__.py"])
def test_doors_open(name: str) -> None:
    """What a package offers is there, and no file of the same name would stand in its place once imported."""
    package = importlib.import_module(name)
    path = modules(PRODUCT)[name]
    doc = package.__doc__ or ""
    assert doc.strip()
    assert "See the modules" not in doc
    for offered in getattr(package, "__all__", ()):
        assert getattr(package, offered) is not None
        assert not (path.parent / f"{offered}.py").exists(), f"{name}.{offered} is a file's name too"


def test_files_stay_readable() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for package in (PRODUCT, HARNESS)
        for path in modules(package).values()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert not long
