"""Every figure is a valid PNG of the size it promises; labels do not overlap; curves are thinned, not aliased."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gkd_lightning.report.charts import curve_figure, curve_names, curves_png, heatmap_png, spaced, thin
from gkd_lightning.report.pictures import feature_grid, hero, sample_grid
from gkd_lightning.report.style import new_figure, png, style, themed_svg
from tests.evaluate.builders import SPACE, gallery, results, run


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    assert picture.format == "PNG"
    return picture


def test_size_in_pixels_is_inches_times_dpi() -> None:
    with style():
        assert opened(png(new_figure(3, 2), dpi=100)).size == (300, 200)


def test_sample_grid_grows_with_rows_and_columns() -> None:
    one = opened(sample_grid(gallery(), {"gkd": "GKD"}, cell_width=1.0))
    two = opened(sample_grid(gallery(), {"none": "No distillation", "gkd": "GKD"}, cell_width=1.0))
    assert two.width - one.width == pytest.approx(1.06 * 200, abs=2)
    shown = {tuple(pixel) for pixel in np.asarray(two.convert("RGB")).reshape(-1, 3)}
    assert set(SPACE.palette) <= shown


def test_sample_grid_leaves_a_gap_where_a_method_has_no_prediction() -> None:
    assert opened(sample_grid(gallery(["none"]), {"none": "No distillation", "gkd": "GKD"})).width > 500


def test_feature_grid_and_hero() -> None:
    assert opened(feature_grid(gallery(), {"teacher": "Teacher", "gkd": "GKD"})).width > 500
    overview = opened(hero(results(), gallery(), ["none", "gkd"], ["day", "night"]))
    assert overview.width > overview.height > 300


def test_heat_map_with_a_class_that_occurs_nowhere() -> None:
    assert opened(heatmap_png(results(), "gkd")).width > 400


def test_every_curve_has_a_picture_even_an_odd_one() -> None:
    assert len(curves_png(results())) == len(curve_names(results())) == 2
    odd = {"a/empty": [], "a/one": [(0, 1.0)], "a/nan": [(0, float("nan"))], "a/flat": [(0, 0.0), (5, 0.0)]}
    for data in curves_png(results({}, runs=[run("gkd", curves=odd)])):
        opened(data)


def test_an_svg_follows_the_theme_and_refers_to_nothing_outside() -> None:
    with style():
        text = themed_svg(curve_figure(results(), "task/loss"), "task/loss")
    assert text.startswith("<svg")
    assert "var(--accent)" in text
    assert "http" not in text
    assert "<style" not in text
    assert "GKD" in text


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1000), max_size=8))
def test_labels_keep_their_distance_and_order(places: list[int]) -> None:
    moved = spaced(sorted(place / 1000 for place in places), 0.1)
    assert len(moved) == len(places)
    assert all(upper - lower >= 0.1 - 1e-6 for lower, upper in pairwise(moved))
    assert all(-1e-6 <= place <= 1 + 1e-6 for place in moved)


def test_labels_that_do_not_clash_stay() -> None:
    assert spaced([0.1, 0.5, 0.9], 0.1) == pytest.approx([0.1, 0.5, 0.9])
    assert spaced([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])


def test_thinning_averages() -> None:
    points = [(step, float(step % 2)) for step in range(1000)]
    thinned = thin(points, 100)
    assert len(thinned) == 100
    assert {value for _, value in thinned} == {0.5}
    assert thin([(3, 1.0)]) == [(3.0, 1.0)]
    assert thin([]) == []
