"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gkd_lightning.evaluate import Measure, Results, miou_of, table, unseen_domains


def markdown_table(results: Results, measure: Measure = miou_of) -> str:
    """The table for a README: methods x (unseen mean, unseen domains, in-domain, gap, recovered), best not marked.

    Args:
        results: of one protocol.
        measure: the score of a domain that it is about.
    """
    targets, lines = unseen_domains(results), []
    for row in table(results, measure):
        spreads = [row.unseen, *(row.domains[name] for name in targets), row.in_domain, row.gap, row.recovered]
        lines.append([row.title, *(str(spread) for spread in spreads)])
    return grid(["method", "unseen mean", *targets, "in-domain", "gap", "recovered %"], lines)


def grid(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is aligned left, the others right."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *lines))
