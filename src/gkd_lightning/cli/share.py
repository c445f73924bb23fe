"""`gkd export --to timm|dinov2|deit|hub`: a student in the form that other libraries and people know."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from gkd_lightning.cli.options import Options
from gkd_lightning.errors import UserError

FORMS = ("timm", "dinov2", "deit", "hub")
_ANY = ("--ckpt", "--to", "--out")
_CARD = ("--run", "--repo", "--license")


def add_options(options: Options) -> None:
    """Those of the model card."""
    options.add_argument("--run", help="for --to hub: folder of the run with its results (default: above --ckpt)")
    add_card_options(options)


def add_card_options(options: Options) -> None:
    """What stands in a card and no result tells."""
    options.add_argument("--repo", metavar="YOU/NAME", help="name of the model on the Hub, for the card's snippets")
    options.add_argument("--license", metavar="ID", help="of the weights, as the Hub names it (default: unknown)")


def shares(form: str, arguments: Sequence[str]) -> bool:
    """Whether a form is one of these.

    Args:
        form: value of ``--to``.
        arguments: all that was given.

    Raises:
        UserError: an option that the form does not have.
    """
    given = [argument.split("=")[0] for argument in arguments if argument.startswith("--")]
    if form in FORMS:
        allowed = (*_ANY, *(_CARD if form == "hub" else ()))
        wrong = [option for option in given if option not in allowed]
    else:
        wrong = [option for option in given if option in _CARD]
    if wrong:
        raise UserError(f"{wrong[0]}: --to {form} has no use for it, leave it out (see gkd export --help)")
    return form in FORMS


def share(found: argparse.Namespace) -> int:
    """Write one of these forms."""
    check_card_options(found)
    if found.to == "timm":
        from gkd_lightning.deploy import export_timm

        lines = export_timm(found.ckpt, found.out)
    elif found.to == "hub":
        from gkd_lightning.deploy import export_hub

        lines = export_hub(found.ckpt, found.out, found.run, found.repo, found.license)
        lines.append(f"fill in what README.md calls unknown, then: hf upload {found.repo or 'YOU/NAME'} {found.out}")
    else:
        from gkd_lightning.deploy import export_authors

        lines = export_authors(found.ckpt, found.out, found.to)
    for line in lines:
        print(line)
    print(found.out)
    return 0


def check_card_options(found: argparse.Namespace) -> None:
    """Before the work.

    Raises:
        UserError: not a repository, or not a licence as the Hub writes them.
    """
    if found.repo is not None and not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", found.repo):
        raise UserError(f"--repo {found.repo}: give the name of a repository on the Hub, such as you/city-student")
    if found.license is not None and not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", found.license):
        raise UserError(f"--license {found.license}: give it as the Hub names it, such as apache-2.0 or cc-by-nc-4.0")
