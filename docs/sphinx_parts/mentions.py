"""Code in a page's text that names a class, a function or a verb leads to its place in the reference."""

from __future__ import annotations

import re
from collections import Counter

from docutils import nodes
from sphinx.application import Sphinx

COMMANDS = "docs/reference/command_line"


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put a reference around every literal that names one thing alone."""
    for text in list(doctree.findall(lambda node: isinstance(node, nodes.Text) and node.astext() == " -- ")):
        text.parent.replace(text, nodes.Text(" – "))  # between a parameter and what it is
    objects = _objects(app)
    for literal in list(doctree.findall(nodes.literal)):
        if _inside(literal, nodes.reference, nodes.title, nodes.term):
            continue
        text = literal.astext().removesuffix("()")
        page, anchor = objects.get(text) or _command(app, text) or ("", "")
        if page:
            uri = f"{app.builder.get_relative_uri(docname, page) if page != docname else ''}#{anchor}"
            reference = nodes.reference("", "", internal=True, refuri=uri, classes=["mention"])
            literal.replace_self(reference)
            reference += literal


def _objects(app: Sphinx) -> dict[str, tuple[str, str]]:
    """Page and anchor by full name, and by the last part where only one thing in the house has it."""
    found, short = {}, Counter()
    for name, _, kind, page, anchor, priority in app.env.domains["py"].get_objects():
        if priority >= 0 and kind in ("class", "function", "exception", "data"):
            found[name] = page, anchor
            short[name.rpartition(".")[2]] += 1
    plain = {name.rpartition(".")[2]: place for name, place in found.items()}
    found |= {name: place for name, place in plain.items() if short[name] == 1 and re.search(r"[A-Z].*[a-z]|_", name)}
    return found


def _command(app: Sphinx, text: str) -> tuple[str, str] | None:
    """`gkd VERB …` and `gkd VERB ACTION …`: the anchor of the longest heading that it begins with."""
    words = text.split()
    if words[:1] != ["gkd"]:
        return None
    headings = app.env.metadata.get(COMMANDS, {}).get("headings", ())
    for count in (3, 2):
        if (anchor := nodes.make_id(" ".join(words[:count]))) in headings:
            return COMMANDS, anchor
    return None


def note_headings(app: Sphinx, doctree: nodes.document) -> None:
    """Remember the anchors of the page of commands."""
    if app.env.docname == COMMANDS:
        ids = tuple(each for section in doctree.findall(nodes.section) for each in section["ids"])
        app.env.metadata[COMMANDS]["headings"] = ids


def _inside(node: nodes.Node, *kinds: type[nodes.Node]) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def setup(app: Sphinx) -> dict[str, bool]:
    """Register both steps."""
    app.connect("doctree-read", note_headings)
    app.connect("doctree-resolved", link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
