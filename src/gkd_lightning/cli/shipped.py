"""`gkd list …`: what ships with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gkd_lightning.cli.options import Options

_FOLDERS = {"teachers": "teacher", "students": "student", "methods": "method", "datasets": "data"}


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd list --help`."""
    options = Options(verb, "List what ships with the package; the names are what a recipe's `configs` take.")
    options.add_argument("what", choices=[*_FOLDERS, "recipes"])
    what = options.read(arguments).what
    rows = _recipes() if what == "recipes" else _fragments(_FOLDERS[what])
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        print(f"{name:<{width}}  {text}".rstrip())
    return 0


def _recipes() -> list[tuple[str, str]]:
    from gkd_lightning.recipes import load_recipe, shipped_recipes

    return [(name, load_recipe(name).title) for name in shipped_recipes()]


def _fragments(folder: str) -> list[tuple[str, str]]:
    from gkd_lightning.files import shipped

    return [(f"{folder}/{path.name}", _headline(path)) for path in sorted(shipped(f"configs/{folder}").glob("*.yaml"))]


def _headline(path: Path) -> str:
    """The comment that a fragment begins with, else the class or model that it names."""
    text = path.read_text(encoding="utf-8")
    if text.startswith("#"):
        return text.splitlines()[0].lstrip("# ")
    from gkd_lightning.recipes import parse_yaml

    value: Any = parse_yaml(text)
    return str(value.get("name") or value.get("class_path") or "") if isinstance(value, dict) else ""
