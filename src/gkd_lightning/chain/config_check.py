"""Is a configuration right? Against the signatures of what it names, before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from gkd_lightning.chain.stage_cli import StageCLI, Verb
from gkd_lightning.recipes import interpolate, read_yaml

_PARSERS: dict[Verb, LightningArgumentParser] = {}
_PASSED: set[str] = set()
"""Contents, with the environment's values filled in, that `check_config` found nothing wrong with."""


class UnbuiltStage(StageCLI):
    """A stage's configuration, understood and checked; nothing is built. All share one parser a verb."""

    builds = False

    def setup_parser(
        self, add_subcommands: bool, main_kwargs: dict[str, Any], subparser_kwargs: dict[str, Any]
    ) -> None:
        """Take the parser that is there: making one is a quarter of a check."""
        if self.verb in _PARSERS:
            self.parser = _PARSERS[self.verb]
        else:
            super().setup_parser(add_subcommands, main_kwargs, subparser_kwargs)
            _PARSERS[self.verb] = self.parser


def check_config(path: str | Path) -> None:
    """Check a configuration file against the signatures of what it names, building nothing.

    Recipes share stages: a configuration that has passed is not checked again in the same process.

    Raises:
        UserError: for an unknown key, a value of the wrong type, a class that cannot be imported.
    """
    content = repr(interpolate(read_yaml(path)))
    if content in _PASSED:
        return
    UnbuiltStage(["--config", str(path)])
    _PASSED.add(content)
