"""The page of the command line, from what `gkd VERB --help` knows: a verb or option that is added appears by itself."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import textwrap
from unittest import mock

from gkd_lightning.cli import VERBS, main
from gkd_lightning.cli.options import Options

INTRODUCTION = """Command line
============

What follows is made from the command's own help; :doc:`/docs/commands` says what the verbs are for. Names of options
are written whole. A mistake is one line on stderr: the key or file, what is wrong, what to do. The exit status is 0 for
done, 2 for a user's mistake, 130 after Ctrl-C, and 1 for anything else. ``--traceback``, or ``GKD_TRACEBACK`` in the
environment, shows the stack of an error."""
TRAINERS = """``--trainer.…`` are the arguments of Lightning's ``Trainer``, ``--model.…`` and ``--data.…`` those of the
class that the configuration names, such as `gkd_lightning.distill.DomainGeneralDistillation` and
`gkd_lightning.data.ProxyDataModule`. ``gkd fit --help`` prints all of them."""


def page() -> str:
    """The text of the page."""
    return "\n\n".join([INTRODUCTION, *(part for verb, text in VERBS.items() for part in _verb(verb, text))]) + "\n"


def _verb(verb: str, text: str) -> list[str]:
    heading = _heading(f"gkd {verb}", "-")
    printed, parser = help_of(verb)
    if parser is not None:
        return [heading, *_options(parser)]
    start = [heading, f"{_escaped(text[0].upper() + text[1:])}."]
    actions = re.findall(r"^  ([a-z]\w*)  +\S", printed.partition("\nactions:\n")[2], re.MULTILINE)
    if actions:
        return [*start, *(part for action in actions for part in _action(verb, action))]
    own = printed.partition("\n\n")[2].partition("\noptions:\n")[2].partition("\n\n")[0]
    return [*start, TRAINERS, "::", textwrap.indent(own, "    ")]


def _action(verb: str, action: str) -> list[str]:
    printed, parser = help_of(verb, action)
    body = _options(parser) if parser else ["::", textwrap.indent(printed, "    ")]
    return [_heading(f"gkd {verb} {action}", "~"), *body]


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}"


def help_of(*words: str) -> tuple[str, Options | None]:
    """What `gkd WORDS --help` prints, and the parser that would have printed it if that is one of ours."""
    parsers: list[Options] = []
    printed = io.StringIO()
    with (
        mock.patch.object(Options, "print_help", lambda self, file=None: parsers.append(self)),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        main([*words, "--help"])
    return printed.getvalue(), parsers[0] if parsers else None


def _options(parser: Options) -> list[str]:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").replace("[-h] ", "").split())
    described = _escaped(parser.description or "")
    lines = textwrap.wrap(usage, 88, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)
    block = textwrap.indent("\n".join(lines), "   ")
    parts = [described, f".. code-block:: text\n\n{block}", f".. program:: {parser.prog}"]
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            parts.append(f".. option:: {_spelled(action)}\n\n   {_escaped(_explained(action))}")
    return parts


def _spelled(action: argparse.Action) -> str:
    if not action.option_strings:
        return str(action.metavar or action.dest)
    if action.nargs == 0:
        return ", ".join(action.option_strings)
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    return ", ".join(f"{name} {value}" for name in action.option_strings)


def _explained(action: argparse.Action) -> str:
    text = " ".join((action.help or "").split())
    choices = f"One of {', '.join(map(str, action.choices))}." if action.choices and not action.option_strings else ""
    needed = "Needed." if action.required and action.option_strings else ""
    return " ".join(filter(None, [needed, text, choices]))


def _escaped(text: str) -> str:
    """Help as reStructuredText: what stands in backticks is code, all else is taken as it is."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(
        f"``{part}``" if index % 2 else re.sub(r"([*|_\\])", r"\\\1", part) for index, part in enumerate(parts)
    )
