"""`gkd inspect features`: principal components of several encoders' patch features as colours, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import Basis, fitted, patch_agreement, patch_maps, pca_pictures
from gkd_lightning.inspection.images import Domains, few
from gkd_lightning.inspection.output import write_findings
from gkd_lightning.inspection.sources import TEACHER, find_sources, find_teacher, on_device
from gkd_lightning.report import Grid, picture_grid


def inspect_features(
    places: Sequence[str],
    domains: Domains,
    out: str | Path,
    teacher: str | None = None,
    count: int = 1,
    basis: Basis = "own",
    device: str = "auto",
) -> list[Path]:
    """Write ``features.png``, ``.csv`` and ``.json``; `basis` as in `pca_pictures`.

    Raises:
        UserError: a place or a teacher that is none, or an encoder with fewer than three channels.
    """
    if count < 1:
        raise UserError(f"--count {count}: show at least one image per domain")
    sources = find_sources(places)
    encoders = {TEACHER: find_teacher(teacher, sources), **{source.title: source.encoder() for source in sources}}
    shown = few(domains, count)
    images = [each.image for each in shown]
    maps = {name: patch_maps(on_device(encoder, device), fitted(images, encoder)) for name, encoder in encoders.items()}
    pictures = pca_pictures(maps, TEACHER, basis)
    columns = [TEACHER, *(source.title for source in sources)]
    rows = [[image, *(pictures[name][index] for name in columns)] for index, image in enumerate(images)]
    picture = picture_grid(Grid(rows, [each.domain for each in shown], ["image", *columns]))
    agreed = patch_agreement(maps, TEACHER, basis)
    table = [
        {"encoder": name, "width": encoders[name].embed_dim, "agreement": round(agreed[name], 4)} for name in columns
    ]
    record = {
        "basis": basis,
        "encoders": {source.title: str(source.weights) for source in sources},
        "images": [[each.domain, each.name] for each in shown],
        "agreement": {name: round(value, 4) for name, value in agreed.items()},
    }
    return write_findings(out, "features", picture, table, record)
