"""Notebooks as pages: their text, code and kept outputs. The tests run them, the site does not."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from docutils import nodes
from myst_parser.parsers.sphinx_ import MystParser
from sphinx.application import Sphinx


class NotebookParser(MystParser):
    """A notebook read as the Markdown that it amounts to."""

    supported = ("notebook",)

    def parse(self, inputstring: str, document: nodes.document) -> None:
        """Parse the JSON of a notebook into `document`."""
        super().parse("\n\n".join(map(_markdown, json.loads(inputstring)["cells"])), document)


def _markdown(cell: dict[str, Any]) -> str:
    text = "".join(cell["source"])
    if cell["cell_type"] != "code":
        return text
    return "\n\n".join([f"```python\n{text}\n```", *filter(None, map(_output, cell["outputs"]))])


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "image/png" in data:
        described = escape("".join(data.get("text/plain", "output")), quote=True)
        picture = "".join(data["image/png"]).replace("\n", "")
        return f'<img class="output" alt="{described}" src="data:image/png;base64,{picture}">'
    if "text/markdown" in data:
        return "".join(data["text/markdown"])
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```" if text.strip() else ""


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the suffix and its parser."""
    app.add_source_suffix(".ipynb", "notebook")
    app.add_source_parser(NotebookParser)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
