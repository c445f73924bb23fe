"""`python -m gkd_bench`, or `make bench`: how fast is it here?"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from gkd_bench.machine import ceilings, describe
from gkd_bench.results import Bench, Measured, markdown, write_page
from gkd_bench.rounds import measure
from gkd_bench.suites import SUITES, comparisons
from gkd_lightning.cli.failure import message_and_status
from gkd_lightning.cli.options import Options
from gkd_lightning.errors import UserError, nearest


def main() -> int:
    """Do what the command line says; the exit statuses are `gkd`'s."""
    try:
        return run(sys.argv[1:])
    except UserError as error:
        message, status = message_and_status(error)
        print(f"gkd_bench: {message}", file=sys.stderr)
        return status


def run(arguments: list[str]) -> int:
    """See `python -m gkd_bench --help`."""
    suites = "; ".join(f"{name}: {text}" for name, text in SUITES.items())
    options = Options("bench", "Measure training steps, evaluation, loaders and start-up, in turns, on this machine.")
    options.prog = "python -m gkd_bench"
    options.add_argument("suites", nargs="*", metavar="SUITE", help=f"which (default: all). {suites}")
    options.add_argument("--only", nargs="+", metavar="NAME", help="only these comparisons of the suites")
    options.add_argument("--device", choices=["cpu", "cuda"], help="(default: cuda if there is one)")
    options.add_argument("--rounds", type=int, default=5, help="turns of every contender (default: 5)")
    options.add_argument("--seconds", type=float, default=5.0, help="length of a turn (default: 5)")
    options.add_argument("--profile", type=int, default=0, metavar="ROWS", help="also list the longest operations")
    options.add_argument(
        "--peer", nargs="+", default=[], metavar="FILE.py", help="other implementations, see benchmarks/README.md"
    )
    options.add_argument("--out", type=Path, help="JSON file; one that is there keeps its other comparisons")
    options.add_argument("--page", type=Path, help="Markdown page that gets the tables of all JSON files beside --out")
    options.add_argument("--list", action="store_true", help="list the comparisons and their contenders, run nothing")
    found = options.read(arguments)
    for suite in found.suites:
        if suite not in SUITES:
            raise UserError(f"{suite}: no such suite{nearest(suite, SUITES)} (one of {', '.join(SUITES)})")
    if found.page and not found.out:
        raise UserError("--page: needs --out, the tables are those of all JSON files in its folder")
    if found.rounds < 1 or found.seconds < 0:
        raise UserError("--rounds must be at least 1, --seconds at least 0")
    device = found.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: this machine has no CUDA device")
    chosen = [each for suite in found.suites or SUITES for each in comparisons(suite, device, found.peer)]
    known = [each.name for each in chosen]
    for name in found.only or ():
        if name not in known:
            raise UserError(f"--only {name}: no such comparison (one of {', '.join(known)})")
    chosen = [each for each in chosen if not found.only or each.name in found.only]
    if found.list:
        for each in chosen:
            print(f"{each.name}: {each.title}")
            for contender in each.contenders:
                print(f"  {contender.name}")
        return 0
    ceiling = ceilings(device)
    machine = describe(device)
    bench = Bench.load(found.out) if found.out and found.out.exists() else Bench(machine, ceiling, [])
    bench = bench.joined(Bench(machine, ceiling, []))
    for each in chosen:
        rows = measure(each, device, found.rounds, found.seconds, found.profile, _progress)
        bench = bench.joined(Bench(machine, ceiling, [Measured.of(each, rows)]))
        if found.out:
            bench.save(found.out)  # after each, so that an interrupted run keeps what it has
    if found.page:
        write_page(sorted(found.out.parent.glob("*.json")), found.page)
    print(markdown(bench), end="")
    return 0


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
