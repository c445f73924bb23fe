"""What a benchmark's recipes have brought, beside the published numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from gkd_lightning.evaluate import Results, unseen_domains
from gkd_lightning.files import write_json, write_text
from gkd_lightning.recipes import Basis, Part
from gkd_lightning.report import as_record, beside_published, rivals_table


def write_tables(parts: Sequence[Part], out: Path) -> str:
    """Write `tables.md`, which is returned, and `tables.json` of recipes whose results lie in `out`/NAME into `out`."""
    texts, record = [], {}
    for part in parts:
        recipe = part.recipe
        results = Results.load(out / part.name / "results.json")
        published = {method.id: method.published for method in recipe.methods}
        source = f"Published: {recipe.published_in}." if recipe.published_in else "Nothing is published for these rows."
        texts.append(f"## {recipe.title}\n\n{source} {_settings(part)}\n\n{beside_published(results, published)}")
        record[part.name] = {"title": recipe.title, "rows": as_record(results, published)}
        if recipe.rivals:
            texts.append(rivals_table(recipe.rivals, unseen_domains(results)))
            record[part.name]["rivals"] = [asdict(rival) for rival in recipe.rivals]
    text = "\n".join(texts)
    write_text(out / "tables.md", text)
    write_json(out / "tables.json", record)
    return text


def _settings(part: Part) -> str:
    """Where the rows' settings come from; rows with an origin of their own are named."""
    titles: dict[Basis, list[str]] = {}
    for method in part.recipe.methods:
        if method.basis is not None and method.id in part.methods:
            titles.setdefault(method.basis, []).append(method.title)
    parts: list[str] = []
    for basis, names in sorted(titles.items(), key=lambda item: -len(item[1])):
        whose = f" of {' and '.join(names)}" if parts else ""
        parts.append(f"Settings{whose}: {basis.source}, {basis.why}.")
    return " ".join(parts)
