"""Pages as the repository shows them: links and anchors lead somewhere, code is code, commands have these options."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import yaml

from gkd_lightning.cli import VERBS

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/benchmarks").glob("*.md")),
    *sorted(ROOT.glob("experiments/*/*.md")),
]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    """What is no code block."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


@cache
def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    plain = [
        re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text) for text in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    ]
    return {re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-") for text in plain}


@every_page
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_a_lost_anchor_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One and `two`: three\n\n[here](#one-and-two-three) [not](#four)\n```\n# no heading\n```\n")
    assert anchors(page) == {"one-and-two-three"}
    with pytest.raises(AssertionError, match="#four"):
        test_links_and_anchors_lead_somewhere(page)


@every_page
def test_blocks_of_python_and_yaml_are_what_they_say(page: Path) -> None:
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gkd_lightning"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)
    for block in blocks(page, "yaml"):
        assert isinstance(yaml.safe_load(block), dict)


def commands(page: Path) -> list[list[str]]:
    """Words of the lines of shell blocks that call `gkd`."""
    lines = "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("gkd ")]


@every_page
def test_commands_have_the_verbs_and_options_that_pages_type(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    for words in commands(page):
        if words[0].startswith("--"):
            continue
        assert words[0] in VERBS, words
        known = options(words[0]) or options(*words[:2])
        for word in words:
            if word.startswith("--") and words[0] not in ("fit", "validate", "test"):  # whose options are classes'
                assert word.partition("=")[0] in known, words


@cache
def options(*words: str) -> frozenset[str]:
    """Long options of a verb, from its own parser; none for a verb that has actions."""
    from sphinx_parts.commands import help_of

    parser = help_of(*words)[1]
    return frozenset(parser.known) if parser else frozenset()


def test_every_verb_is_in_the_table_of_commands() -> None:
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    assert {
        verb for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE) for verb in re.findall(r"`gkd (\w+)", row)
    } == set(VERBS)


def test_readme_is_short() -> None:
    """One screen and a half; what is longer has a page."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 75
