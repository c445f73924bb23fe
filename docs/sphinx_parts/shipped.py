"""The page of fragments and recipes that ship: what `gkd list` prints, with the files themselves."""

from __future__ import annotations

from pathlib import Path

from gkd_lightning.recipes import load_recipe, parse_yaml, shipped_recipes

ROOT = Path(__file__).resolve().parents[2]
INTRODUCTION = """# Fragments and recipes that ship

A fragment is a piece of a configuration, named by its place below `configs/`; a recipe names fragments and is named by
its place below `experiments/` ([how they are written](../recipes.md)). `gkd list` prints these names in the terminal,
and a file of yours of the same form stands beside them.
"""
FOLDERS = {
    "teacher": "Teachers", "teachers": "Several teachers", "student": "Students", "head": "Heads", "method": "Methods",
    "data": "Data", "stage": "Stages", "geometry": "Sizes of images and windows", "trainer": "Trainers",
    "profile": "Profiles of `gkd reproduce`",
    "diagnostics": "Diagnostics", "probe": "Probes", "sweep": "W&B sweeps",
    "rivals": "Published numbers of other methods",
}  # fmt: skip


def page() -> str:
    """The text of the page.

    Raises:
        KeyError: a folder below `configs/` without a heading here.
    """
    folders = sorted({path.parent.name for path in ROOT.glob("configs/*/*.yaml")}, key=list(FOLDERS).index)
    parts = [INTRODUCTION, "## Recipes", _table(_recipes())]
    for folder in folders:
        parts += [f"## {FOLDERS[folder]}", _table(_fragments(folder))]
    return "\n\n".join(parts) + "\n"


def _recipes() -> list[tuple[str, str, str]]:
    return [
        (name, path.relative_to(ROOT).as_posix(), load_recipe(name).title) for name, path in shipped_recipes().items()
    ]


def _fragments(folder: str) -> list[tuple[str, str, str]]:
    paths = sorted(ROOT.glob(f"configs/{folder}/*.yaml"))
    return [(f"{folder}/{path.name}", path.relative_to(ROOT).as_posix(), _headline(path)) for path in paths]


def _headline(path: Path) -> str:
    """The comment that a fragment begins with, else the class or model that it names."""
    text = path.read_text(encoding="utf-8")
    if text.startswith("#"):
        return text.splitlines()[0].lstrip("# ")
    value = parse_yaml(text)
    named = value.get("name") or value.get("class_path") or (value.get("model") or {}).get("class_path")
    return f"`{named}`" if named else ""


def _table(rows: list[tuple[str, str, str]]) -> str:
    lines = [f"| [`{name}`](../../{path}) | {text.replace('|', '-')} |" for name, path, text in rows]
    return "\n".join(["| name | what it is |", "|---|---|", *lines])
