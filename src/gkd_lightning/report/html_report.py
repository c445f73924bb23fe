"""`report.html`: one file that shows a whole experiment, without network, script or anything beside it."""

from __future__ import annotations

import base64
import io
import os
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup
from PIL import Image as PillowImage

from gkd_lightning import __version__
from gkd_lightning.data import Image, LabelSpace
from gkd_lightning.evaluate import PER_IMAGE, MethodChange, PerImage, Results, check_comparable, pq_of, table
from gkd_lightning.files import atomic_write, write_text
from gkd_lightning.report import table_cells
from gkd_lightning.report.change_lines import change_lines
from gkd_lightning.report.charts import curve_figure, curve_names
from gkd_lightning.report.claims import headline
from gkd_lightning.report.gallery import Gallery, Sample, colourize
from gkd_lightning.report.latency_chart import latency_figure, latency_png
from gkd_lightning.report.latency_table import LatencyTable, latency_tables
from gkd_lightning.report.mistake_lines import mistake_lines, worst_lines
from gkd_lightning.report.panoptic_table import PANOPTIC_HEADINGS, panoptic_lines
from gkd_lightning.report.shape_section import shape_section
from gkd_lightning.report.style import style, themed_svg
from gkd_lightning.report.summary import summary
from gkd_lightning.report.trust_section import trust_section
from gkd_lightning.report.unknown_table import UNKNOWN_HEADINGS, unknown_lines

Chart = tuple[str, str, Markup]  # quantity, stage, drawing
Changed = tuple[str, list[MethodChange]]  # against what, and what
HEALTH = "health/"  # what stage 1 calls the curves that tell how distillation itself goes
NAMES = 16  # letters of an image's name in a line
WIDEST = 400  # pixels of an embedded picture


def write_report(
    results: Results,
    directory: str | os.PathLike[str],
    gallery: Gallery | None = None,
    per_image: PerImage | None = None,
    changed: Changed | None = None,
) -> Path:
    """Write `results.json`, `results.csv`, `summary.md`, `report.html` and, if given, the `.npz` into `directory`.

    Where latencies were measured, `latency.png` as well, or one for each machine. `changed` names another run, and says
    what changed against it.

    Everything is made before the first file is written, and each file is replaced in one go.

    Returns:
        The path of `report.html`.

    Raises:
        UserError: the runs were not judged by one protocol.
    """
    check_comparable(results.runs)
    page, tables = render_report(results, gallery, per_image, changed), summary(results)
    charts = [latency_png(each) for each in latency_tables(table(results), results.highlight)]
    folder = Path(directory)
    results.save(folder / "results.json")
    results.save_csv(folder / "results.csv")
    if gallery is not None:
        gallery.save(folder / "gallery.npz")
    if per_image is not None:
        per_image.save(folder / PER_IMAGE)
    for number, chart in enumerate(charts, 1):
        with atomic_write(folder / (f"latency-{number}.png" if len(charts) > 1 else "latency.png")) as temporary:
            temporary.write_bytes(chart)
    write_text(folder / "summary.md", tables)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def render_report(
    results: Results,
    gallery: Gallery | None = None,
    per_image: PerImage | None = None,
    changed: Changed | None = None,
) -> str:
    """The report as one HTML page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gkd_lightning.report", ""),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    targets, rest, lines = table_cells.result_table(results)
    maps, difference = table_cells.heat_maps(results)
    shared, own = table_cells.provenance(results)
    health, training = _curves(results)
    segments = panoptic_lines(results)
    return environment.get_template("report.html.j2").render(
        results=results,
        version=__version__,
        headline=headline(results),
        seeds=sorted({run.seed for run in results.runs}),
        targets=targets,
        seen=[score.domain for score in results.runs[0].domains if score.seen],
        rest=rest,
        lines=lines,
        segments=table_cells.result_table(results, pq_of) if segments else None,
        parts_of_segments=(PANOPTIC_HEADINGS, segments),
        claims=table_cells.claim_lines(results),
        ours=next((run.title for run in results.runs if run.method == results.highlight), ""),
        protocol=[pair for pair in table_cells.facts(results.runs[0].protocol) if pair[1] not in ("", "null")],
        selection=results.runs[0].selection,
        maps=maps,
        difference=difference,
        shapes=shape_section(results),
        trust=trust_section(results, per_image),
        unknown=(UNKNOWN_HEADINGS, unknown_lines(results)),
        samples=_samples(results, gallery),
        mistaken=mistake_lines(results),
        worst=_worst(results, gallery),
        changed_from=changed[0] if changed else "",
        changed=change_lines(changed[1]) if changed else [],
        features=_features(results, gallery),
        legend=_legend(gallery.label_space) if gallery else [],
        health=health,
        training=training,
        latencies=_latencies(results),
        cost_columns=table_cells.COST_COLUMNS,
        costs=table_cells.cost_lines(results),
        shared=shared,
        own=own,
    )


def _curves(results: Results) -> tuple[list[Chart], list[Chart]]:
    """Charts of the distillation's health, and of all other curves."""
    health: list[Chart] = []
    training: list[Chart] = []
    with style():
        for name in curve_names(results):
            stage, quantity = name.split("/", 1) if "/" in name else ("", name)
            chart = Markup(themed_svg(curve_figure(results, name), name))  # safe: matplotlib has escaped its texts
            group = health if quantity.startswith(HEALTH) else training
            group.append((quantity.removeprefix(HEALTH), stage, chart))
    return health, training


def _latencies(results: Results) -> list[tuple[LatencyTable, list[Markup]]]:
    """Tables, each with a chart for every setting."""
    found = latency_tables(table(results), results.highlight)
    with style():
        return [
            (each, [Markup(themed_svg(latency_figure(each, [s]), f"latency-{number}-{s}")) for s in each.settings])
            for number, each in enumerate(found)
        ]  # safe, as above


def _samples(results: Results, gallery: Gallery | None) -> dict[str, Any] | None:
    """Headings and rows of pictures: image, truth, and each method that has predictions."""
    if gallery is None or not gallery.samples:
        return None
    shown = {key for sample in gallery.samples for key in sample.predictions}
    methods = {run.method: run.title for run in results.runs if run.method in shown}
    paint = partial(colourize, space=gallery.label_space)
    rows = []
    for sample in gallery.samples:
        predictions = [_flat(paint(sample.predictions[m])) if m in sample.predictions else "" for m in methods]
        pictures = [_photo(sample.image), _flat(paint(sample.truth)), *predictions]
        rows.append({"domain": sample.domain, "name": sample.name, "pictures": pictures})
    return {
        "headings": ["image", "truth", *methods.values()],
        "accent": methods.get(results.highlight),
        "rows": rows,
        "names": 0,
        "segments": any(sample.truth.dtype != np.uint8 for sample in gallery.samples),
    }


def _worst(results: Results, gallery: Gallery | None) -> dict[str, Any] | None:
    """Headings and rows of pictures: image, truth, prediction, what is wrong."""
    rows = [
        {
            "domain": line.sample.domain,
            "name": line.sample.name,
            "note": f"{line.sample.name}, {line.score}",
            "pictures": [_photo(line.pictures[0]), *map(_flat, line.pictures[1:])],
        }
        for line in worst_lines(results, gallery)
    ]
    title = next((run.title for run in results.runs if run.method == results.highlight), "")
    headings = ["image", "truth", title, "wrong"]
    return {"headings": headings, "accent": title, "rows": rows, "names": NAMES} if rows else None


def _features(results: Results, gallery: Gallery | None) -> dict[str, Any] | None:
    """Headings and rows of pictures: image and the principal components of each encoder, one image per domain."""
    first: dict[str, Sample] = {}
    for sample in gallery.samples if gallery else []:
        if sample.features:
            first.setdefault(sample.domain, sample)
    if not first:
        return None
    shown = list(first.values())
    encoders = list(dict.fromkeys(name for sample in shown for name in sample.features))
    titles = {run.method: run.title for run in results.runs} | {"teacher": "Teacher"}
    rows = []
    for sample in shown:
        pictures = [_flat(sample.features[name]) if name in sample.features else "" for name in encoders]
        rows.append({"domain": sample.domain, "name": sample.name, "pictures": [_photo(sample.image), *pictures]})
    headings = ["image", *(titles.get(name, name) for name in encoders)]
    return {"headings": headings, "accent": titles.get(results.highlight), "rows": rows, "names": 0}


def _legend(space: LabelSpace) -> list[tuple[str, str]]:
    """Class names and their colours as CSS."""
    colours = (f"rgb({red} {green} {blue})" for red, green, blue in space.palette)
    return list(zip(space.names, colours, strict=True))


def _photo(image: Image) -> str:
    """A photograph as a data address, JPEG if it is large."""
    picture = _shrunk(PillowImage.fromarray(image), PillowImage.Resampling.LANCZOS)
    large = picture.width * picture.height > 40_000
    return _embedded(picture, "jpeg", quality=88) if large else _embedded(picture, "png", optimize=True)


def _flat(picture: Image) -> str:
    """A picture of few colours as a data address: PNG, no colours mixed."""
    return _embedded(_shrunk(PillowImage.fromarray(picture), PillowImage.Resampling.NEAREST), "png", optimize=True)


def _shrunk(picture: PillowImage.Image, method: PillowImage.Resampling) -> PillowImage.Image:
    if picture.width <= WIDEST:
        return picture
    return picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), method)


def _embedded(picture: PillowImage.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
