"""What a benchmark's recipes have brought, beside the published numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gkd_lightning.evaluate import Results
from gkd_lightning.evaluate.published import as_record, beside_published
from gkd_lightning.files import atomic_write, write_json
from gkd_lightning.pipeline.benchmark import Part


def write_tables(parts: Sequence[Part], out: Path) -> str:
    """Write `tables.md` and `tables.json` of all parts into `out`.

    Args:
        parts: recipes whose results lie in `out`/NAME.
        out: the benchmark's folder.

    Returns:
        The Markdown.
    """
    texts, record = [], {}
    for part in parts:
        recipe = part.recipe
        results = Results.load(out / part.name / "results.json")
        published = {method.id: method.published for method in recipe.methods}
        source = f"Published: {recipe.published_in}." if recipe.published_in else "Nothing is published for these rows."
        bases = {
            f"{method.title}: {method.basis.source}, {method.basis.why}."
            for method in recipe.methods
            if method.basis and method.id in part.methods
        }
        shared = {text.partition(": ")[2] for text in bases}
        settings = f"Settings: {shared.pop()}" if len(shared) == 1 else "Settings: " + " ".join(sorted(bases))
        texts.append(f"## {recipe.title}\n\n{source} {settings}\n\n{beside_published(results, published)}")
        record[part.name] = {"title": recipe.title, "rows": as_record(results, published)}
    text = "\n".join(texts)
    with atomic_write(out / "tables.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    write_json(out / "tables.json", record)
    return text
