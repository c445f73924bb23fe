"""Every figure is a valid PNG of the size it promises; labels do not overlap; curves are thinned, not aliased."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gkd_lightning.report.charts import curve_figure, curve_names, spaced, thin
from gkd_lightning.report.pictures import Grid, picture_grid
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


def test_a_grid_grows_with_its_columns_and_leaves_gaps() -> None:
    (sample, *_) = gallery().samples
    one = opened(picture_grid(Grid([[sample.image]], ["day"], ["image"], cell=1.0)))
    two = opened(picture_grid(Grid([[sample.image, None]], ["day"], ["image", "GKD"], cell=1.0)))
    assert two.width - one.width == pytest.approx(1.06 * 200, abs=2)
    assert two.height == one.height


def test_the_overview_shows_every_class_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "docs")
    from overview_picture import overview

    picture = opened(overview(results(), gallery(["none"]), ["none", "gkd"], ["day", "night"]))
    assert picture.width > picture.height > 300
    shown = {tuple(pixel) for pixel in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
    assert set(SPACE.palette) <= shown
    opened(overview(results(), gallery(), domains=["day"]))


def test_every_curve_has_a_picture_even_an_odd_one() -> None:
    assert len(curve_names(results())) == 2
    odd = results({}, runs=[run("gkd", curves={"a/empty": [], "a/one": [(0, 1.0)], "a/nan": [(0, float("nan"))],
                                               "a/flat": [(0, 0.0), (5, 0.0)]})])  # fmt: skip
    with style():
        for name in curve_names(odd):
            opened(png(curve_figure(odd, name)))


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
