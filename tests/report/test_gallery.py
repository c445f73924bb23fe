"""Samples survive saving, are merged by name, and are coloured like the label space says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gkd_lightning.data.types import LabelSpace
from gkd_lightning.errors import UserError
from gkd_lightning.report.gallery import IGNORED_COLOUR, Gallery, colourize, merge_galleries, with_borders
from tests.evaluate.builders import SPACE, gallery


def test_round_trip(tmp_path: Path) -> None:
    before = gallery()
    before.save(tmp_path / "gallery.npz")
    after = Gallery.load(tmp_path / "gallery.npz")
    assert after.label_space == SPACE
    for old, new in zip(before.samples, after.samples, strict=True):
        assert (new.domain, new.name) == (old.domain, old.name)
        np.testing.assert_array_equal(new.image, old.image)
        np.testing.assert_array_equal(new.truth, old.truth)
        assert list(new.predictions) == list(old.predictions)
        np.testing.assert_array_equal(new.predictions["gkd"], old.predictions["gkd"])
        np.testing.assert_array_equal(new.features["teacher"], old.features["teacher"])


def test_the_worst_images_stay_apart_and_keep_their_scores(tmp_path: Path) -> None:
    parts = []
    for method, score in (("none", 12.5), ("gkd", 20.0)):
        made = gallery([method])
        parts.append(replace(made, samples=made.samples[:2], worst=[replace(made.samples[2], scores={method: score})]))
        parts[-1].save(tmp_path / "gallery.npz")
        parts[-1] = Gallery.load(tmp_path / "gallery.npz")
    merged = merge_galleries(parts)
    assert [sample.domain for sample in merged.samples] == ["day", "night"]
    (worst,) = merged.worst
    assert (worst.domain, worst.scores) == ("fog", {"none": 12.5, "gkd": 20.0})
    assert list(worst.predictions) == ["none", "gkd"]


def test_a_file_that_is_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "gallery.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(UserError, match="not a gallery"):
        Gallery.load(path)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a gallery"):
        Gallery.load(path)


def test_merge_joins_the_predictions_of_methods() -> None:
    merged = merge_galleries([gallery(["none"]), gallery(["gkd"])])
    assert [list(sample.predictions) for sample in merged.samples] == [["none", "gkd"]] * 3
    other = replace(gallery(), label_space=LabelSpace(("a", "b", "c"), SPACE.palette))
    with pytest.raises(UserError, match="different classes"):
        merge_galleries([gallery(), other])
    with pytest.raises(UserError, match="no gallery"):
        merge_galleries([])


def test_colours() -> None:
    picture = colourize(np.array([[0, 2, 255, 7]], np.uint8), SPACE)
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[[70, 130, 180], [0, 0, 142], list(IGNORED_COLOUR), list(IGNORED_COLOUR)]]


def test_a_line_where_segments_meet() -> None:
    codes = np.zeros((4, 4), np.int32)
    codes[:, 2:] = 1 + 256
    grey = np.full((4, 4, 3), 90, np.uint8)
    drawn = with_borders(grey, codes)
    assert (drawn[:, 2] == 255).all()
    assert (np.delete(drawn, 2, axis=1) == 90).all()
    assert (grey == 90).all()


def test_segments_have_the_colours_of_their_classes() -> None:
    codes = np.array([[0, 1, 1 + 256, 1 + 256, 255, 255]] * 2, np.int32)
    drawn = colourize(codes, SPACE)
    assert [tuple(pixel) for pixel in drawn[1, [0, 3, 5]]] == [SPACE.palette[0], SPACE.palette[1], IGNORED_COLOUR]
    assert (drawn[:, [1, 2, 4]] == 255).all()


def test_where_segments_are_known_they_are_the_truth() -> None:
    plain, segments = gallery(["none"]), gallery(["gkd"])
    segments = replace(
        segments, samples=[replace(sample, truth=sample.truth.astype(np.int32)) for sample in segments.samples]
    )
    for order in ([plain, segments], [segments, plain]):
        assert all(sample.truth.dtype == np.int32 for sample in merge_galleries(order).samples)
