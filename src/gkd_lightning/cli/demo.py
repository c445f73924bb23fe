"""`gkd demo`: the shipped MiniCity recipe."""

from __future__ import annotations

from pathlib import Path

from gkd_lightning.cli.options import Options


def run(verb: str, arguments: list[str]) -> int:
    """See `gkd demo --help`."""
    options = Options(verb, "Distil, compare and report on MiniCity, a procedural street world: CPU, no downloads.")
    options.add_argument("--quick", action="store_true", help="a few steps only; the numbers mean nothing")
    options.add_argument("--out", type=Path, help="folder of stages and results (default: runs/<recipe>)")
    options.add_argument("--dry-run", action="store_true", help="print the plan and do nothing")
    found = options.read(arguments)
    from gkd_lightning.cli.study import Study, execute

    name = "minicity/demo_quick" if found.quick else "minicity/demo"
    return execute(Study(name, out=found.out), dry_run=found.dry_run)
