"""Write docs/benchmarks/: a page for every benchmark, from its recipes and data sets, with a picture of imitations.

    .venv/bin/python docs/benchmark_pages.py

A test compares the pages with what this would write.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from gkd_lightning.data import SegmentationDataset, overlay, text_font
from gkd_lightning.data.benchmarks import Card
from gkd_lightning.data.fakes import write_fake
from gkd_lightning.recipes import Basis, Recipe, arguments, compose, datasets_of, load_recipe
from gkd_lightning.report import grid, rivals_table

FOLDER = Path(__file__).parent / "benchmarks"
BENCHMARKS = (
    "gtav", "gtav_synthia", "gtav_synthia_urbansyn", "gtav_acdc", "cityscapes", "potsdam", "rescuenet",
    "loveda_urban", "loveda_rural", "openearthmap", "cityscapes_bdd_mapillary", "gtav_synthia_urbansyn_cityscapes",
)  # fmt: skip
FAMILIES = ("f2l", "f2f")
DRIVING, AERIAL = (512, 256), (288, 288)
CELL = 260


def main() -> None:
    """Write all pages and pictures."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GKD_DATA"] = folder
        for name in BENCHMARKS:
            domains = domains_of(name)
            for card in cards(domains):
                root = Path(folder) / card.name
                if not root.exists():
                    aerial = card.name in ("potsdam", "vaihingen", "rescuenet", "loveda", "openearthmap")
                    write_fake(card.name, root, 2, AERIAL if aerial else DRIVING)
            picture(domains, FOLDER / f"{name}.png")
            (FOLDER / f"{name}.md").write_text(page(name), encoding="utf-8")


def domains_of(name: str) -> dict[str, SegmentationDataset]:
    """Source and evaluation domains of a benchmark, by the name that a caption shows."""
    recipe = load_recipe(f"f2l/{name}")
    (source,) = (fragment for fragment in recipe.common_stages["task"] if isinstance(fragment, str))
    found: dict[str, SegmentationDataset] = {}
    for dataset in datasets_of(source).values():
        for each in getattr(dataset, "datasets", [dataset]):
            found[f"source: {each.card.title}"] = each
    for fragment in recipe.evaluate:
        if isinstance(fragment, str) and fragment.startswith("data/"):
            found |= datasets_of(fragment)  # type: ignore[arg-type]
    return found


def cards(domains: dict[str, SegmentationDataset]) -> list[Card]:
    """Facts about the data sets, each once."""
    return list({each.card.name: each.card for each in domains.values()}.values())  # type: ignore[attr-defined]


def picture(domains: dict[str, SegmentationDataset], path: Path) -> None:
    """One image of every domain above its labels."""
    columns = []
    for dataset in domains.values():
        image = dataset.image(0)
        pair = [image, overlay(image, dataset.label(0), dataset.label_space)]
        height = round(CELL * image.shape[0] / image.shape[1])
        columns.append([cv2.resize(part, (CELL, height), interpolation=cv2.INTER_AREA) for part in pair])
    heights = [max(column[row].shape[0] for column in columns) for row in (0, 1)]
    sheet = np.full((24 + sum(heights) + 6, len(columns) * (CELL + 6) - 6, 3), 255, dtype=np.uint8)
    for index, column in enumerate(columns):
        left = index * (CELL + 6)
        for row, part in enumerate(column):
            top = 24 + row * (heights[0] + 6)
            sheet[top : top + part.shape[0], left : left + CELL] = part
    drawn = Pillow.fromarray(sheet)
    pen = ImageDraw.Draw(drawn)
    for index, name in enumerate(domains):
        pen.text((index * (CELL + 6), 3), name, fill=(31, 35, 40), font=text_font(14))
    drawn.quantize(128).save(path, optimize=True)


def page(name: str) -> str:
    """The text of a page."""
    recipes = {family: load_recipe(f"{family}/{name}") for family in FAMILIES}
    domains = domains_of(name)
    heading = recipes["f2l"].title.removeprefix("F2L ")
    parts = [
        f"# {heading[0].upper()}{heading[1:]}",
        f"![One image of every domain, and its labels]({name}.png)",
        "Imitations, drawn by `gkd data fake`; the real images are their authors'.",
        "## Data",
        *(_card(card) for card in cards(domains)),
        "## Run it",
        "```bash\n" + "\n".join(_commands(name, recipes, cards(domains))) + "\n```",
        "## Protocol",
        _protocol(recipes["f2l"], domains),
        "## Published numbers",
        *(_published(family, recipe) for family, recipe in recipes.items()),
        *_rivals(recipes["f2l"], domains),
        "[All benchmarks](../benchmarks.md)",
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _card(card: Card) -> str:
    counts = ", ".join(f"{count:,} {split}" for split, count in card.counts.items())
    folders = " or ".join(f"`{folder}`" for folder in (card.name, *card.other_folders))
    notes = "".join(f" {note[0].upper()}{note[1:].rstrip('.')}." for note in card.notes)
    return (
        f"**{card.title}** ([where to get it]({card.homepage}); {card.licence}). {counts} images of "
        f"{card.size[0]} x {card.size[1]}, below `$GKD_DATA` in {folders}.{notes}\n\n```\n{card.tree.strip()}\n```"
    )


def _commands(name: str, recipes: dict[str, Recipe], found: list[Card]) -> list[str]:
    checks = [f"gkd data check {card.name}" for card in found]
    runs = [f"gkd run {family}/{name} --dry-run" for family in recipes]
    return [*checks, *runs, *(f"gkd run {family}/{name}" for family in recipes)]


def _protocol(recipe: Recipe, domains: dict[str, SegmentationDataset]) -> str:
    if arguments(compose(recipe.evaluate), "data")["protocol"] == "full-resolution":
        return (
            "`full-resolution`: images are segmented as they are, in windows of 512 pixels with a stride of 341 whose "
            "scores are averaged."
        )
    rows = {}
    for each in domains.values():
        card: Card = each.card  # type: ignore[attr-defined]
        if card.official_size is not None:
            rows[card.title] = [card.title, f"{card.official_size[0]} x {card.official_size[1]}"]
    return (
        "`gkd-official`: images are fitted into the sizes below with their proportions kept, segmented in windows of "
        "512 pixels with a stride of 341 whose scores are averaged, and compared with labels of their own size.\n\n"
        + grid(["data set", "fitted into"], rows.values())
    )


def _published(family: str, recipe: Recipe) -> str:
    said = f"{family.upper()}: {_basis(recipe)}"
    rows = [method for method in recipe.methods if method.published]
    if not rows:
        return f"{said} Nothing is published for these rows."
    columns = list(dict.fromkeys(domain for method in rows for domain in method.published))
    lines = [
        [method.title, *(f"{method.published[c]:.1f}" if c in method.published else "–" for c in columns)]
        for method in rows
    ]
    return f"{said} mIoU in percent, {recipe.published_in}:\n\n{grid([family.upper(), *columns], lines)}"


def _rivals(recipe: Recipe, domains: dict[str, SegmentationDataset]) -> list[str]:
    """What other methods' papers say of the same setting; nothing where no number is known from two sources."""
    if not recipe.rivals:
        return []
    seen = arguments(compose(recipe.evaluate), "data").get("seen") or []
    unseen = [name for name in domains if not name.startswith("source: ") and name not in seen]
    return [
        "Other methods, each with its own training; a number stands here if two sources agree on it:",
        rivals_table(recipe.rivals, unseen),
    ]


def _basis(recipe: Recipe) -> str:
    """Where the settings come from: what holds for most rows, then the rows that differ."""
    rows: dict[Basis, list[str]] = {}
    for method in recipe.methods:
        if method.basis is not None:
            rows.setdefault(method.basis, []).append(method.title)
    order = sorted(rows, key=lambda basis: -len(rows[basis]))
    parts = [
        f"{'settings' if index == 0 else ' and '.join(rows[basis])}: *{basis.source}*, {basis.why}."
        for index, basis in enumerate(order)
    ]
    return " ".join(parts)


if __name__ == "__main__":
    main()
