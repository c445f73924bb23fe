"""Run-length encoding, against a decoder that is written from the format's description."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gkd_lightning.deploy.predict.coco import dataset, run_lengths, segments


def decoded(counts: str, size: list[int]) -> np.ndarray:
    """Letter by letter: five bits each, the sixth says that more follow, the fifth of the last one is the sign."""
    lengths: list[int] = []
    letters = iter(counts)
    for letter in letters:
        value, shift, code = 0, 0, ord(letter) - 48
        while True:
            value |= (code & 0x1F) << shift
            shift += 5
            if not code & 0x20:
                break
            code = ord(next(letters)) - 48
        if code & 0x10:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
    flat = np.repeat(np.arange(len(lengths)) % 2, lengths)
    return flat.reshape(size[1], size[0]).T.astype(bool)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**16), st.sampled_from([0.0, 0.03, 0.5, 0.97, 1.0]))
def test_what_is_encoded_is_decoded(height: int, width: int, seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    assert np.array_equal(decoded(run_lengths(np.ascontiguousarray(mask.T).ravel()), [height, width]), mask)


@pytest.mark.parametrize("size", [(2160, 3840), (1, 3_000_000)])
def test_long_runs_and_large_differences(size: tuple[int, int]) -> None:
    mask = np.zeros(size, bool)
    mask[:, -2] = mask[0, 7] = True
    assert np.array_equal(decoded(run_lengths(np.ascontiguousarray(mask.T).ravel()), list(size)), mask)


def test_the_encoding_is_the_one_of_cocos_own_masks() -> None:
    """`pycocotools.mask.encode` gave this for a square of 3x4 pixels at row 2 and column 3 of 10x12."""
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:7] = True
    assert run_lengths(np.ascontiguousarray(mask.T).ravel()) == "P13700000`1"


def test_segments_measure_what_they_hold() -> None:
    ids = np.full((6, 8), 255, np.uint8)
    ids[1:3, 2:7] = 4
    ids[5, 0] = 1
    confidence = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    one, four = segments(ids, confidence, [0, 1, 4])
    assert (one["category_id"], one["area"], one["bbox"]) == (1, 1, [0, 5, 1, 1])
    assert (four["category_id"], four["area"], four["bbox"]) == (4, 10, [2, 1, 5, 2])
    assert four["score"] == pytest.approx(confidence[1:3, 2:7].mean(), abs=1e-5)
    assert np.array_equal(decoded(**four["segmentation"]), ids == 4)


def test_a_file_of_annotations_counts_from_one() -> None:
    ids = np.array([[0, 1]], np.uint8)
    found = segments(ids, np.ones((1, 2), np.float32), [0, 1])
    file = dataset({0: "road", 1: "car"}, [("a.png", (1, 2), found), ("b.png", (1, 2), found[:1])])
    assert file["images"][1] == {"id": 2, "file_name": "b.png", "height": 1, "width": 2}
    assert [(each["id"], each["image_id"], each["category_id"]) for each in file["annotations"]] == [
        (1, 1, 0), (2, 1, 1), (3, 2, 0)
    ]  # fmt: skip
    assert file["categories"] == [{"id": 0, "name": "road"}, {"id": 1, "name": "car"}]
