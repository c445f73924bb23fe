"""Measured comparisons as JSON, and the JSON as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from gkd_bench.contender import Comparison
from gkd_bench.rounds import Measurement
from gkd_lightning.errors import UserError
from gkd_lightning.files import atomic_write, write_json

SCHEMA = 1
_MACHINE = ("device", "cpu", "gpu", "cores")
"""What tells one machine from another."""
MARKER = "<!-- measured -->"
"""Line of a page below which `write_page` puts its tables."""


@dataclass(frozen=True)
class Measured:
    """A comparison with its figures."""

    name: str
    title: str
    unit: str
    rows: list[Measurement]

    @classmethod
    def of(cls, comparison: Comparison, rows: list[Measurement]) -> Measured:
        """What `measure` found for a comparison."""
        return cls(comparison.name, comparison.title, comparison.unit, rows)


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark.

    Attributes:
        machine: see `machine.describe`.
        ceiling: floating point operations a second of a large matrix product, by dtype.
        comparisons: in the order in which they were measured.
    """

    machine: dict[str, Any]
    ceiling: dict[str, float]
    comparisons: list[Measured]

    def save(self, path: Path) -> None:
        """Write JSON."""
        write_json(path, {"schema": SCHEMA, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> Bench:
        """Read what `save` wrote.

        Raises:
            UserError: it is no such file.
        """
        try:
            plain = json.loads(path.read_text())
            comparisons = [
                Measured(**{**each, "rows": [Measurement(**row) for row in each["rows"]]})
                for each in plain["comparisons"]
            ]
            return cls(plain["machine"], plain["ceiling"], comparisons)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: no benchmark results ({error})") from error

    def joined(self, newer: Bench) -> Bench:
        """This run with the comparisons of a newer one put in place of its own.

        Raises:
            UserError: they were measured on different machines.
        """
        for name in _MACHINE:
            if self.comparisons and self.machine.get(name) != newer.machine.get(name):
                raise UserError(
                    f"measured on another machine ({name}: {self.machine.get(name)}, here {newer.machine.get(name)}); "
                    "give another --out"
                )
        kept = {each.name: each for each in self.comparisons} | {each.name: each for each in newer.comparisons}
        return Bench(newer.machine, newer.ceiling, list(kept.values()))


def markdown(bench: Bench) -> str:
    """All tables under one heading that names the machine."""
    machine = bench.machine
    device = machine.get("gpu") or machine["cpu"]
    ceilings = ", ".join(f"{flops / 1e12:.3g} TFLOP/s in {name}" for name, flops in bench.ceiling.items())
    versions = machine["versions"]
    lines = [
        f"## {device}",
        "",
        f"{machine['cores']} cores ({', '.join(machine['cpu_features']) or 'no vector features'}), "
        f"{machine['memory_gib']} GiB, torch {versions.get('torch')}, one large matrix product: {ceilings}.",
    ]
    for comparison in bench.comparisons:
        lines += ["", f"### {comparison.title}", "", *_table(comparison, max(bench.ceiling.values(), default=0.0))]
        for row in comparison.rows:
            if row.profile:
                shares = (f"`{each['operation']}` {each['share']:.0%}" for each in row.profile)
                lines += ["", f"Own time of *{row.name}*: {', '.join(shares)}."]
    return "\n".join(lines) + "\n"


def write_page(files: Sequence[Path], page: Path) -> None:
    """Put the tables of several runs into a Markdown page, below its line `MARKER`; what stands above is kept.

    Raises:
        UserError: there is no such page, or no such line in it.
    """
    if not page.is_file():
        raise UserError(f"{page}: no such page")
    above, marker, _ = page.read_text(encoding="utf-8").partition(MARKER)
    if not marker:
        raise UserError(f"{page}: has no line {MARKER} below which the tables could stand")
    text = "\n".join([above + marker, "", *(markdown(Bench.load(file)) for file in files)])
    with atomic_write(page) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _table(comparison: Measured, ceiling: float) -> Iterable[str]:
    unit = comparison.unit
    one = unit.rstrip("s")
    yield f"| | {unit}/s | spread | against the first | peak memory | GFLOPs/{one} | utilisation | waiting |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    base = comparison.rows[0]
    for row in comparison.rows:
        if row.failed:
            yield f"| {row.name} | not measured: {row.failed} | | | | | | |"
            continue
        rate = row.median
        flops, peak = row.flops_per_image, row.peak_bytes or 0.0
        yield (
            " | ".join(
                [
                    f"| {row.name}",
                    f"{rate:,.3g}",
                    f"{min(row.rates):,.3g} to {max(row.rates):,.3g}",
                    f"{median(row.ratio_to(base)):.2f}" if base.rates else "",
                    f"{peak / 2**20:,.0f} MiB" if peak >= 2**20 else "",
                    f"{flops / 1e9:,.3g}" if flops else "",
                    f"{rate * flops / ceiling:.0%}" if flops and ceiling else "",
                    "" if row.waiting is None else f"{row.waiting:.0%}",
                ]
            )
            + " |"
        )
