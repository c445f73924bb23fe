"""`gkd list …`: what ships with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gkd_lightning.cli.options import Options

_FOLDERS = {
    "teachers": "teacher", "students": "student", "heads": "head", "methods": "method", "datasets": "data"
}  # fmt: skip
_LICENCE, _COMMERCIAL = 25, 12
"""Widths of columns whose rows are found one after another."""
_LEVELS, _CLASSES = [384] * 4, 19
"""What a head is counted for: a ViT-S and Cityscapes."""


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd list --help`."""
    options = Options(verb, "List what ships with the package; the names are what a recipe's `configs` take.")
    options.add_argument("what", choices=[*_FOLDERS, "recipes"])
    what = options.read(arguments).what
    rows = _recipes() if what == "recipes" else _fragments(_FOLDERS[what])
    width = max((len(name) for name, _ in rows), default=0)
    lines = (text for _, text in rows)
    if what in ("teachers", "students"):
        head = f"{'licence':{_LICENCE}}  {'commercial':{_COMMERCIAL}}  {'parameters':>10}  patch   size"
        print(f"{'':<{width}}  {head}")
        lines = (_encoder(name, text) for name, text in rows)
    elif what == "heads":
        print(f"{'':<{width}}  parameters with {len(_LEVELS)} maps of {_LEVELS[0]} channels and {_CLASSES} classes")
        lines = (_head(name, text) for name, text in rows)
    for (name, _), line in zip(rows, lines, strict=True):
        print(f"{name:<{width}}  {line}".rstrip(), flush=True)
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
    value: Any = _read(path)
    return str(value.get("name") or value.get("class_path") or "") if isinstance(value, dict) else ""


def _read(path: Path) -> Any:
    from gkd_lightning.recipes import parse_yaml

    return parse_yaml(path.read_text(encoding="utf-8"))


def _encoder(name: str, text: str) -> str:
    """A row of teachers or students: the network is built without values, its licence asked for."""
    import torch

    from gkd_lightning.chain import MetaOperations
    from gkd_lightning.deploy import terms_of
    from gkd_lightning.encoders import EncoderSpec, build_encoder
    from gkd_lightning.files import shipped

    given = _read(shipped(f"configs/{name}"))
    terms = terms_of(given["name"], given.get("weights"))
    with torch.device("meta"), MetaOperations():  # in a quarter of the time
        encoder = build_encoder(EncoderSpec(**{**given, "weights": None}))
    rows, columns = encoder.image_size
    size = str(rows) if rows == columns else f"{rows}x{columns}"
    facts = f"{_millions(encoder.model):>10}  {encoder.patch_size:>5}  {size:>5}"
    said = text.removesuffix(f"; {terms.title}")
    return f"{terms.title:{_LICENCE}}  {terms.commercial:{_COMMERCIAL}}  {facts}  {said}"


def _head(name: str, text: str) -> str:
    import torch

    from gkd_lightning.files import shipped
    from gkd_lightning.segment import build_head, settings_of

    given = _read(shipped(f"configs/{name}"))["model.head"]
    record = {"init_args": {}, **given} if "class_path" in given else given
    with torch.device("meta"):
        head = build_head(settings_of(record), _LEVELS, _CLASSES)
    return f"{_millions(head):>9}  {text}"


def _millions(module: Any) -> str:
    count = sum(parameter.numel() for parameter in module.parameters()) / 1e6
    return f"{count:.2f} M" if count < 100 else f"{count:.0f} M"
