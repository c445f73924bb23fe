"""The picture of a model card: a sample of every domain, its truth, and what the model makes of it."""

from __future__ import annotations

import cv2
import numpy as np

from gkd_lightning.data import Image
from gkd_lightning.evaluate import RunResult
from gkd_lightning.report import Gallery, Grid, Sample, colourize, picture_grid

_MOST, _PIXELS = 6, 480


def card_picture(gallery: Gallery, run: RunResult) -> bytes | None:
    """PNG with a column for each of the first six domains, unseen ones first; None without samples of the run."""
    order = [score.domain for score in sorted(run.domains, key=lambda score: score.seen)]
    first: dict[str, Sample] = {}
    for sample in gallery.samples:
        if run.method in sample.predictions:
            first.setdefault(sample.domain, sample)
    shown = [first[domain] for domain in order if domain in first][:_MOST]
    if not shown:
        return None
    rows = [
        [_shrunk(sample.image, cv2.INTER_AREA) for sample in shown],
        *(
            [_shrunk(colourize(label, gallery.label_space), cv2.INTER_NEAREST) for label in labels]
            for labels in ([sample.truth for sample in shown], [sample.predictions[run.method] for sample in shown])
        ),
    ]
    seen = {score.domain for score in run.domains if score.seen}
    headings = [f"{sample.domain} (seen)" if sample.domain in seen else sample.domain for sample in shown]
    return picture_grid(Grid(rows, ["image", "truth", run.title], headings, quiet=0), gallery.label_space)


def _shrunk(picture: Image, method: int) -> Image:
    height, width = picture.shape[:2]
    if width <= _PIXELS:
        return picture
    size = (_PIXELS, round(height * _PIXELS / width))
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)
