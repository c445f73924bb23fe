"""Our scores beside published ones, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gkd_lightning.evaluate import Results, Row, table, unseen_domains
from gkd_lightning.recipes import Rival
from gkd_lightning.report.markdown import grid

MEAN = "mean"


@dataclass(frozen=True)
class Cell:
    """One number of the table, in percent of mIoU; NaN where there is none.

    Attributes:
        ours: mean over our seeds.
        published: the paper's.
        std: sample standard deviation of ours; NaN for one seed.
    """

    ours: float
    published: float
    std: float = math.nan

    def __str__(self) -> str:
        ours = f"{self.ours:.1f}" + ("" if math.isnan(self.std) else f" ± {self.std:.1f}")
        if math.isnan(self.published):
            return ours
        return f"{ours} / {self.published:.1f} ({self.ours - self.published:+.1f})".replace("-", "−")


def cells(row: Row, domains: list[str], published: Mapping[str, float]) -> dict[str, Cell]:
    """A row's unseen domains and their mean beside the published numbers.

    A published mean that is not given is that of the published domains, if all of them are.
    """
    whole = {name: published.get(name, math.nan) for name in domains}
    mean = published.get(MEAN, sum(whole.values()) / len(whole) if whole else math.nan)
    ours = {**row.domains, MEAN: row.unseen}
    return {name: Cell(ours[name].mean, value, ours[name].std) for name, value in {**whole, MEAN: mean}.items()}


def all_domains(row: Row) -> float:
    """Mean over all domains, those of the source included: what the official evaluator calls its mean on Potsdam."""
    scores = [spread.mean for spread in row.domains.values()]
    return sum(scores) / len(scores)


def beside_published(results: Results, published: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown: methods x (unseen domains, mean), each `ours / published (difference)`; then ours on seen domains.

    Args:
        results: of one recipe.
        published: by method and domain, in percent; `mean` is the mean over the unseen domains.
    """
    domains, rows = unseen_domains(results), table(results)
    seen = [name for name in rows[0].domains if name not in domains]
    lines = []
    for row in rows:
        compared = cells(row, domains, published.get(row.method, {}))
        own = [*(row.domains[name].mean for name in seen), all_domains(row)] if seen else []
        lines.append([row.title, *map(str, compared.values()), *(f"{value:.1f}" for value in own)])
    return grid(["ours / published (difference)", *domains, MEAN, *seen, *["mean of all"] * bool(seen)], lines)


def as_record(results: Results, published: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """The same as plain values, None for NaN."""
    domains = unseen_domains(results)
    return [
        {
            "method": row.method,
            "seeds": list(row.seeds),
            "scores": {
                name: {"ours": _plain(cell.ours), "std": _plain(cell.std), "published": _plain(cell.published)}
                for name, cell in cells(row, domains, published.get(row.method, {})).items()
            },
        }
        for row in table(results)
    ]


def rivals_table(rivals: Sequence[Rival], domains: Sequence[str]) -> str:
    """Markdown: published rows of other methods x (backbone, crop, domains, mean, source); `–` where nothing is known.

    Args:
        rivals: the rows.
        domains: the unseen ones, in the order of the table above it.
    """
    columns = [*domains, MEAN]
    lines = [
        [
            rival.title, rival.backbone, "–" if rival.crop is None else str(rival.crop),
            *(f"{rival.scores[name]:.1f}" if name in rival.scores else "–" for name in columns), rival.source,
        ]
        for rival in rivals
    ]  # fmt: skip
    return grid(["published, not run here", "backbone", "crop", *columns, "source"], lines)


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)
