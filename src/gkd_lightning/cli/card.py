"""`gkd card RUN`: the model card of a run, from its results."""

from __future__ import annotations

from pathlib import Path

from gkd_lightning.cli.options import Options
from gkd_lightning.cli.share import add_card_options, check_card_options
from gkd_lightning.errors import UserError


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd card --help`."""
    options = Options(verb, "Write the model card of a run: results, recipe, protocol, licences, how to load it.")
    options.add_argument("run", type=Path, help="run folder, or its results.json")
    options.add_argument("--method", help="whose card (default: the run's own method)")
    options.add_argument("--seed", type=int, help="whose card (default: the first)")
    options.add_argument("--out", type=Path, metavar="DIR", help="write README.md and picture.png (default: print)")
    add_card_options(options)
    found = options.read(arguments)
    check_card_options(found)
    from gkd_lightning.deploy import CARD, PICTURE, card_of_run, card_text, chosen_run
    from gkd_lightning.evaluate import Results

    if found.out is None:
        results = Results.load(found.run)
        print(card_text(results, chosen_run(results, found.method, found.seed), found.repo, found.license), end="")
        return 0
    for path in (found.out / CARD, found.out / PICTURE):
        if path.exists() or (found.out.exists() and not found.out.is_dir()):
            raise UserError(f"--out {found.out}: holds a {path.name} or is a file; give another folder")
    card_of_run(found.run, found.out, found.method, found.seed, found.repo, found.license)
    print(found.out / CARD)
    return 0
