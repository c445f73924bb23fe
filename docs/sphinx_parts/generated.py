"""Pages that are made from the code, below `docs/reference/`, which git ignores: rooms, command line, what ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util import inspect
from torch.nn import Module

from sphinx_parts import commands, rooms, shipped

FOLDER = Path(__file__).resolve().parents[1] / "reference"


def write_pages(app: Sphinx) -> None:
    """Write the pages that are new or changed, remove those of rooms that are no more."""
    pages = rooms.pages()
    made = {f"python/{name}.rst": text for name, text in pages.items()}
    made |= {
        "python.rst": rooms.overview(list(pages)),
        "command_line.rst": commands.page(),
        "shipped.md": shipped.page(),
    }
    for path in FOLDER.rglob("*.rst"):
        if path.relative_to(FOLDER).as_posix() not in made:
            path.unlink()
    for name, text in made.items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def name_types(app: Sphinx, config: Config) -> None:
    """Have signatures show the names of types, not what they stand for."""
    config.autodoc_type_aliases = rooms.type_names()


def constructor(app: Sphinx, what: str, name: str, value: Any, options: Any, signature: str, returned: str) -> Any:
    """A class whose `__new__` takes anything, to look at it, is shown with the arguments of its constructor."""
    if what != "class" or not str(signature).startswith("(*args"):
        return None
    if value.__init__ in (object.__init__, Module.__init__):
        return "()", None
    found = inspect.signature(value.__init__, bound_method=True, type_aliases=app.config.autodoc_type_aliases)
    return inspect.stringify_signature(found, show_return_annotation=False), None


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before sources are looked for."""
    app.connect("config-inited", name_types)
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-signature", constructor)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
