"""Figures of the instruments: valid PNGs that grow with what they show, whose texts stay apart."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure

from gkd_lightning.evaluate.gradient_conflict import Conflict
from gkd_lightning.report import attention_chart, conflict_charts, similarity_chart
from gkd_lightning.report.attention_chart import AttentionRow, attention_png
from gkd_lightning.report.conflict_charts import Training, parts_png, training_png
from gkd_lightning.report.similarity_chart import similarity_png
from gkd_lightning.report.style import png
from tests.report.test_pictures import opened

RNG = np.random.default_rng(0)
PARTS = ["encoder", "patch_embedding", *(f"block_{index}" for index in range(12))]


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn."""
    drawn: list[Figure] = []

    def remember(figure: Figure) -> bytes:
        drawn.append(figure)
        return png(figure)

    for module in (attention_chart, conflict_charts, similarity_chart):
        monkeypatch.setattr(module, "png", remember)
    return drawn


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that cover each other by more than a hair, or leave the page."""
    figure.canvas.draw()  # saving has laid the texts out for another resolution
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    texts = [text for text in figure.findobj(_says) if text not in _beyond(figure)]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]  # type: ignore[attr-defined]
    page = figure.bbox
    out = [(text, "page") for text, box in boxes if box.x1 > page.x1 + 1 or box.x0 < -1 or box.y1 > page.y1 + 1]
    clash = [
        (first, second)
        for (first, one), (second, two) in combinations(boxes, 2)
        if min(one.x1, two.x1) - max(one.x0, two.x0) > 2 and min(one.y1, two.y1) - max(one.y0, two.y0) > 2
    ]
    return out + clash


def _beyond(figure: Figure) -> set[object]:
    """Labels of ticks outside their axis: matplotlib keeps some and draws none."""
    found: set[object] = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                found |= {tick.label1, tick.label2}
    return found


def _says(item: object) -> bool:
    text = getattr(item, "get_text", None)
    return bool(text and str(text()).strip()) and bool(getattr(item, "get_visible", bool)())


def training(noise: float) -> Training:
    steps = range(0, 400, 10)
    cosines = {part: [(step, math.cos(step) * noise) for step in steps] for part in PARTS}
    return Training(cosines, [(step, 10.0 + step) for step in steps], [(step, 0.1 + step / 1e4) for step in steps])


def test_cosine_over_training(figures: list[Figure]) -> None:
    one = opened(training_png({"Single-stage KD": training(0.2)}))
    two = opened(training_png({"Single-stage KD": training(0.2), "Single-stage QSD, seed 0": training(0.8)}))
    assert two.width > one.width > 1200
    assert not [pair for figure in figures for pair in overlapping(figure)]


def test_cosines_by_part(figures: list[Figure]) -> None:
    found = {name: {part: Conflict(value, 1, 1) for part in PARTS} for name, value in (("A", 0.9), ("B", -0.3))}
    found["B"]["block_3"] = Conflict(math.nan, 0, 1)
    assert opened(parts_png(found, "task: a linear read-out of patch tokens; 64 images")).width > 1000
    assert not overlapping(figures[0])


def test_attention_maps(figures: list[Figure]) -> None:
    def row(domain: str, queries: int) -> AttentionRow:
        image = RNG.integers(0, 256, (96, 96, 3)).astype(np.uint8)
        attention = [RNG.random((12, 12)).astype(np.float32) / 144 for _ in range(queries)]
        places = [(index, 2 * index) for index in range(queries)]
        return AttentionRow(domain, image, places, attention, [map_ * 100 for map_ in attention])

    one = opened(attention_png([row("game", 1)], (12, 12), "GKD"))
    more = opened(attention_png([row("game", 3), row("night", 2)], (12, 12), "GKD"))
    assert more.width > 2 * one.width
    assert more.height > 1.5 * one.height
    assert not [pair for figure in figures for pair in overlapping(figure)]


def test_similarity(figures: list[Figure]) -> None:
    layers = {"GKD": ["0", "1", "out"], "Two-stage MSE": ["0", "1", "out"]}
    domains = ["game", "night"]
    heat = {name: {domain: RNG.random((3, 14)) for domain in domains} for name in layers}
    cosines = {name: dict.fromkeys(domains, 0.5) for name in layers}
    teacher = [*(str(block) for block in range(13)), "out"]
    assert opened(similarity_png(heat, cosines, layers, teacher)).height > 1000
    small = {name: {domain: RNG.random((3, 3)) for domain in domains} for name in layers}
    opened(similarity_png(small, cosines, layers, ["0", "1", "out"]))
    assert not [pair for figure in figures for pair in overlapping(figure)]
