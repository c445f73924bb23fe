"""Pages that are made from the code, below `docs/reference/`, which git ignores: rooms, command line, what ships."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

from sphinx_parts import commands, rooms, shipped

FOLDER = Path(__file__).resolve().parents[1] / "reference"


def write_pages(app: Sphinx) -> None:
    """Write the pages that are new or changed, remove those of rooms that are no more."""
    made = {f"python/{name}.rst": text for name, text in rooms.pages().items()}
    made |= {"command_line.rst": commands.page(), "shipped.md": shipped.page()}
    for path in FOLDER.rglob("*.rst"):
        if path.relative_to(FOLDER).as_posix() not in made:
            path.unlink()
    for name, text in made.items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before sources are looked for."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
