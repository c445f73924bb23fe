"""The figures of `gpu.py` as Markdown: a table a group, and the longest operations of the main steps."""

from __future__ import annotations

from collections.abc import Iterator

from gkd_bench import Bench, Measured, Measurement

_COLUMNS = (
    "images/s", "spread", "against the first", "peak, MiB", "share of the bf16 ceiling", "launches", "kernels",
    "device busy, ms of a step", "host waits",
)  # fmt: skip


def tables(bench: Bench) -> str:
    """Everything that was measured, for `docs/speed.md`."""
    ceiling = bench.ceiling.get("bfloat16", 0.0)
    named = ", ".join(f"{flops / 1e12:.3g} TFLOP/s in {name}" for name, flops in bench.ceiling.items())
    machine = bench.machine
    device, torch = machine.get("gpu") or machine["cpu"], machine["versions"].get("torch")
    lines = [f"{device}, torch {torch}; one large matrix product: {named}."]
    for group in bench.comparisons:
        lines += ["", f"**{group.title}**", "", *_table(group, ceiling)]
    for group in bench.comparisons:
        for row in group.rows:
            if row.profile:
                lines += ["", f"Longest operations of *{row.name}* ({group.title}):", "", *_profile(row)]
    return "\n".join(lines) + "\n"


def short(row: Measurement) -> str:
    """One line for the terminal."""
    if row.failed:
        return f"{row.name}: {row.failed}"
    launches = "" if row.launches is None else f", {row.launches:,.0f} launches, {row.busy_ms:.1f} ms busy"
    waits = "" if row.waits is None else f", {row.waits} host waits"
    return f"{row.name}: {row.median:,.4g} images/s, {(row.peak_bytes or 0) / 2**20:,.0f} MiB{launches}{waits}"


def _table(group: Measured, ceiling: float) -> Iterator[str]:
    yield f"| | {' | '.join(_COLUMNS)} |"
    yield "|---|" + "---:|" * len(_COLUMNS)
    base = next((row for row in group.rows if row.rates), None)
    flops = next((row.flops_per_image for row in group.rows if row.flops_per_image and row is not base), None)
    for row in group.rows:
        if row.failed or base is None:
            yield f"| {row.name} | {row.failed} |" + " |" * (len(_COLUMNS) - 1)
            continue
        operations = row.flops_per_image or flops
        cells = [
            f"{row.median:,.4g}",
            f"{min(row.rates):,.4g} to {max(row.rates):,.4g}",
            f"{row.median / base.median:.2f}",
            f"{(row.peak_bytes or 0) / 2**20:,.0f}",
            f"{row.median * operations / ceiling:.0%}" if operations and ceiling else "",
            _number(row.launches),
            _number(row.kernels),
            "" if row.busy_ms is None else f"{row.busy_ms:.1f}",
            _number(row.waits),
        ]
        yield f"| {row.name} | {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _profile(row: Measurement) -> Iterator[str]:
    yield "| operation | share | ms | calls |"
    yield "|---|---:|---:|---:|"
    for each in row.profile:
        name = each["operation"][:90].replace("|", "\\|")
        yield f"| `{name}` | {each['share']:.1%} | {each['milliseconds']:.2f} | {each['calls']:.0f} |"
