"""Does a temperature that is fitted at home help abroad: methods side by side, one domain by domain, one sentence."""

from __future__ import annotations

from dataclasses import dataclass

from gkd_lightning.evaluate import DomainTrust, Row, Spread
from gkd_lightning.report.table_cells import Cell, Line, interval_text, kind_of

TEMPERED_HEADINGS = ("ECE", "ECE at T", "NLL", "NLL at T", "its own T", "ECE at that")
Found = list[tuple[Row, list[DomainTrust]]]


@dataclass(frozen=True)
class TemperedSection:
    """Everything the page shows.

    Attributes:
        title: of the method that `details` are about.
        domains: their names.
        said: what it comes to.
        details: a line a domain.
        methods: temperature, and ECE at it with ECE as it is beside, a line a method; empty of a single one.
        intervals: whether `details` have any.
        headings: of the columns of `details`.
    """

    title: str
    domains: list[str]
    said: str
    details: list[Line]
    methods: list[Line]
    intervals: bool
    headings: tuple[str, ...] = TEMPERED_HEADINGS


def tempered_section(found: Found, highlight: str) -> TemperedSection | None:
    """None where no source was judged, or by an older version; `found` has the method that it is about first."""
    known = [each for each in found if all(domain.tempered is not None for domain in each[1])]
    if not known:
        return None
    row, domains = known[0]
    return TemperedSection(
        title=row.title,
        domains=[each.domain for each in domains],
        said=_said(domains),
        details=[_detail(each) for each in domains],
        methods=[_method(*each, highlight) for each in known] if len(known) > 1 else [],
        intervals=any(each.tempered_interval for each in domains),
    )


def tempered_lines(found: Found) -> list[list[str]]:
    """Title, temperature, and ECE at it on every domain, of every method that has one."""
    return [
        [row.title, _degree(_of(domains[0], "temperature")), *(str(_of(each, "ece_after")) for each in domains)]
        for row, domains in found
        if all(each.tempered is not None for each in domains)
    ]


def _said(domains: list[DomainTrust]) -> str:
    home = " and ".join(each.domain for each in domains if each.seen)
    abroad = [each for each in domains if not each.seen]
    temperature = _degree(_of(domains[0], "temperature"))
    fitted = f"Fitted on {home}: T = {temperature}."
    if not abroad:
        return fitted
    before, after, own = (
        sum(_of(each, name).mean for each in abroad) / len(abroad) for name in ("ece_before", "ece_after", "ece_own")
    )
    return (
        f"{fitted} Mean ECE of the unseen domains: {before:.1f} as it is, {after:.1f} at this T, {own:.1f} if each had "
        "its own."
    )


def _detail(each: DomainTrust) -> Line:
    cells = [
        Cell(_number(_of(each, "ece_before"))),
        Cell(_number(_of(each, "ece_after")), interval_text(each.tempered_interval)),
        Cell(_number(_of(each, "nll_before"), 3)),
        Cell(_number(_of(each, "nll_after"), 3)),
        Cell(_degree(_of(each, "temperature_own"))),
        Cell(_number(_of(each, "ece_own"))),
    ]
    return Line(f"{each.domain} (in-domain)" if each.seen else each.domain, "student", cells)


def _method(row: Row, domains: list[DomainTrust], highlight: str) -> Line:
    pairs = [(_of(each, "ece_after"), _of(each, "ece_before")) for each in domains]
    cells = [Cell(_number(after), f"from {_number(before)}") for after, before in pairs]
    return Line(row.title, kind_of(row, highlight), [Cell(_degree(_of(domains[0], "temperature"))), *cells])


def _of(each: DomainTrust, name: str) -> Spread:
    assert each.tempered is not None
    return each.tempered[name]


def _number(value: Spread, digits: int = 1) -> str:
    return f"{value.mean:.{digits}f}"


def _degree(value: Spread) -> str:
    """A temperature, the mean over seeds: as many digits as it has."""
    return f"{value.mean:.3g}"
