"""Files of the repository that are no pages, such as code, become pages where they are linked; so does the package.

So a relative link in Markdown works where the repository is read and on the site, without the repository's address.
A folder becomes a list of its files.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform

ROOT = Path(__file__).resolve().parents[2]
SHOWN = {".py", ".yaml", ".csv"}  # of a folder's files, up to so many bytes:
LARGEST = 200_000
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<link rel="stylesheet" href="{up}_static/pygments.css">
<link rel="stylesheet" href="{up}_static/source.css">
<body>
<header><a href="{up}docs/index.html">gkd-lightning</a> <h1>{name}</h1></header>
{body}
</body>
</html>
"""


class LinksToFiles(SphinxTransform):
    """Lead links to files and folders of the repository to their pages."""

    default_priority = 400

    def apply(self, **kwargs: Any) -> None:
        """Replace the nodes that MyST has made."""
        for kind in (addnodes.download_reference, addnodes.pending_xref):
            for node in list(self.document.findall(kind)):
                if node.get("reftype") == "myst" and not node.get("refdomain"):
                    path = Path(self.env.relfn2path(node["reftarget"], self.env.docname)[1])
                    if path.exists():
                        name = path.relative_to(ROOT).as_posix()
                        linked_files(self.env).setdefault(self.env.docname, set()).add(name)
                        uri = f"{_up(self.env.docname)}files/{name}.html"
                        node.replace_self(nodes.reference("", "", *node.children, refuri=uri, internal=True))


def _up(page: str) -> str:
    return "../" * page.count("/")


def linked_files(env: BuildEnvironment) -> dict[str, set[str]]:
    """Files and folders that pages link, by page; kept between builds."""
    if not hasattr(env, "linked_files"):
        env.linked_files = {}
    found: dict[str, set[str]] = env.linked_files
    return found


def source_of(domain: str, info: dict[str, str]) -> str | None:
    """`linkcode_resolve` of Sphinx: where the source of an object in the reference is shown."""
    value: Any = importlib.import_module(info["module"])
    try:
        for part in info["fullname"].split("."):
            value = inspect.getattr_static(value, part) if inspect.isclass(value) else getattr(value, part)
        value = getattr(value, "fget", None) or getattr(value, "__func__", None) or value
        file, line = inspect.getsourcefile(inspect.unwrap(value)), inspect.getsourcelines(value)[1]
    except (AttributeError, TypeError, OSError):
        return None  # a value, which has no source of its own
    if file is None or not Path(file).is_relative_to(ROOT):
        return None
    return f"../../../files/{Path(file).relative_to(ROOT).as_posix()}.html#L-{line}"


def write_pages(app: Sphinx, exception: Exception | None) -> None:
    """Write the pages of all that is linked, and of the package."""
    if exception is not None or app.builder.format != "html":
        return
    paths = {ROOT / each for files in linked_files(app.env).values() for each in files}
    for folder in [path for path in paths if path.is_dir()]:
        paths |= set(_shown_in(folder))
    for path in sorted({*paths, *(ROOT / "src/gkd_lightning").rglob("*.py")}):
        name = path.relative_to(ROOT).as_posix()
        out = Path(app.outdir, "files", f"{name}.html")
        out.parent.mkdir(parents=True, exist_ok=True)
        body = _folder(path) if path.is_dir() else _file(path)
        up = "../" * len(out.relative_to(app.outdir).parent.parts)
        out.write_text(PAGE.format(name=escape(name), up=up, body=body), encoding="utf-8")


def _shown_in(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix in SHOWN and path.stat().st_size <= LARGEST:
            yield path


def _file(path: Path) -> str:
    try:
        lexer = get_lexer_for_filename(path.name)
    except ClassNotFound:
        lexer = TextLexer()
    lines = HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True)
    return highlight(path.read_text(encoding="utf-8"), lexer, lines)


def _folder(folder: Path) -> str:
    shown = set(_shown_in(folder))
    lines = []
    for path in sorted(folder.rglob("*")):
        name = escape(path.relative_to(folder).as_posix())
        if path in shown:
            lines.append(f'<li><a href="{escape(folder.name)}/{name}.html">{name}</a></li>')
        elif path.is_file():
            lines.append(f"<li>{name}</li>")
    return "<ul>" + "\n".join(lines) + "</ul>"


def forget(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    """A page is read again."""
    linked_files(env).pop(docname, None)


def join(app: Sphinx, env: BuildEnvironment, docnames: set[str], other: BuildEnvironment) -> None:
    """Another process has read some pages."""
    linked_files(env).update({name: files for name, files in linked_files(other).items() if name in docnames})


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transform and the pages."""
    app.add_transform(LinksToFiles)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", join)
    app.connect("build-finished", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
