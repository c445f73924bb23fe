"""`argparse` with whole option names only and mistakes told in one line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from gkd_lightning.errors import UserError, nearest


def action_of(verb: str, usage: str, actions: Mapping[str, str], arguments: list[str]) -> str | None:
    """The action that a verb with several is asked for; None if help was, which is then printed.

    Args:
        verb: such as ``data``.
        usage: what follows the verb.
        actions: name and explanation of each.
        arguments: what follows the verb on the command line.

    Raises:
        UserError: there is no such action.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: gkd {verb} {usage}\n\nactions:")
        width = max(8, *map(len, actions)) + 1
        for name, text in actions.items():
            print(f"  {name:<{width}} {text}")
        return None
    action = arguments[0]
    if action not in actions:
        raise UserError(f"{verb} {action}: no such action{nearest(action, actions)} (one of {', '.join(actions)})")
    return action


class Options(argparse.ArgumentParser):
    """Parser of one of our own verbs."""

    def __init__(self, verb: str, description: str) -> None:
        self.known: list[str] = ["--help", "--traceback"]
        super().__init__(prog=f"gkd {verb}", description=description, allow_abbrev=False)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """As in argparse; long names become candidates for the nearest one."""
        if hasattr(self, "known"):
            self.known += [name for name in names if str(name).startswith("--")]
        return super().add_argument(*names, **settings)

    def read(self, arguments: list[str]) -> argparse.Namespace:
        """Parse; raises `UserError` that names the offending option and the nearest valid one."""
        found, unknown = self.parse_known_args(arguments)
        if unknown:
            option = unknown[0].split("=")[0]
            raise UserError(f"{option}: unknown option{nearest(option, self.known)} (see {self.prog} --help)")
        return found

    def error(self, message: str) -> NoReturn:
        """argparse's own complaints, such as a missing required option."""
        raise UserError(f"{message} (see {self.prog} --help)")


def read_size(text: str | None) -> tuple[int, int] | None:
    """(height, width) of ``--size``; None where it was not given.

    Raises:
        UserError: it is no size, or one of a hundred thousand pixels.
    """
    if text is None:
        return None
    if not re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", text):
        raise UserError(f"--size {text}: give HEIGHTxWIDTH in pixels, such as 400x1280")
    height, width = text.split("x")
    return int(height), int(width)
