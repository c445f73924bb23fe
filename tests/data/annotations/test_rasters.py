"""Which pixels a shape has: those whose centre it holds, on every machine, and none twice along a border."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gkd_lightning.data import AnnotatedImages
from gkd_lightning.data.annotations.rasters import drawn
from gkd_lightning.data.annotations.shapes import COLUMNS, HOLE, ROWS, Builder, Part, disc, mask, polygon, runs
from tests.data.annotations.tools import (
    CAR,
    HEIGHT,
    TOOLS,
    WIDTH,
    coco_plain,
    cvat_text,
    inside,
    label_studio_plain,
    labelme_plain,
    pictures,
    png,
    run_lengths,
    written,
)


def pixels(*parts: Part, height: int = HEIGHT, width: int = WIDTH, to_edge: bool = False) -> NDArray[np.bool_]:
    builder = Builder()
    builder.image("a")
    builder.shape("car", parts)
    found = np.zeros((height, width), bool)
    for each in drawn(builder.done("coco", []), 0, height, width, by_area=False, to_edge=to_edge):
        found[each.rows, each.columns] = each.inside
    return found


def star(random: np.random.RandomState, corners: int) -> NDArray[np.float32]:
    """Corners (N, 2), of edges that cross each other too, some of them beyond a picture of 40x30."""
    return (random.rand(corners, 2) * (60, 50) - 10).astype(np.float32)


def holds(corners: NDArray[np.float32], x: float, y: float) -> bool:
    """The even-odd rule, edge by edge."""
    odd = False
    for (x0, y0), (x1, y1) in zip(corners.tolist(), np.roll(corners, -1, 0).tolist(), strict=True):
        if (y0 <= y) != (y1 <= y) and x >= x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            odd = not odd
    return odd


@pytest.mark.parametrize("seed", range(6))
def test_a_polygon_has_the_pixels_whose_centre_it_holds(seed: int) -> None:
    corners = star(np.random.RandomState(seed), 3 + 2 * seed)
    found = pixels(polygon(corners), height=30, width=40)
    wanted = [[holds(corners, column + 0.5, row + 0.5) for column in range(40)] for row in range(30)]
    assert np.array_equal(found, wanted)


def test_rectangles() -> None:
    assert np.array_equal(pixels(polygon(CAR)), inside(CAR))
    half = [[4.5, 4.5], [10.5, 4.5], [10.5, 8.5], [4.5, 8.5]]  # through centres: the right and lower side has them
    assert np.array_equal(pixels(polygon(half)), inside(CAR))
    assert not pixels(polygon([[4.6, 0], [5.4, 0], [5.4, 9], [4.6, 9]])).any()  # between two centres
    assert not pixels(polygon([[1, 1], [5, 5], [9, 9]])).any()


def test_polygons_that_share_borders_share_no_pixel_and_leave_none_out() -> None:
    """A fan around any point tiles the picture, which fills that include their border do not."""
    random = np.random.RandomState(3)
    for _ in range(20):
        centre = random.rand(2) * (WIDTH, HEIGHT)
        frame = [[0, 0], [WIDTH * random.rand(), 0], [WIDTH, 0], [WIDTH, HEIGHT], [WIDTH * random.rand(), HEIGHT]]
        frame.append([0, HEIGHT])
        fan = [[first, second, centre] for first, second in zip(frame, [*frame[1:], frame[0]], strict=True)]
        assert (np.sum([pixels(polygon(each)) for each in fan], 0) == 1).all()


def test_the_same_bytes_everywhere() -> None:
    """Sums, products and quotients of 64 bit alone: a machine that gives another digest rounds otherwise."""
    random, digest = np.random.RandomState(0), hashlib.sha256()
    for corners in (3, 4, 7, 50):
        digest.update(pixels(polygon(star(random, corners)), disc(9.3, 7.1, 4.2), height=30, width=40).tobytes())
    assert digest.hexdigest() == "794461c2a7ebc2731afc6b7e7d47f44b2d60adc95e56f9430187845575e59a78"


def test_parts() -> None:
    hole = [[5, 5], [8, 5], [8, 7], [5, 7]]
    found = pixels(polygon(CAR), polygon(hole, HOLE))
    assert np.array_equal(found, inside(CAR) & ~inside(hole))
    both = pixels(polygon(CAR), polygon([[x + 5, y + 3] for x, y in CAR]))  # together, not one without the other
    assert both.sum() == inside(CAR).sum() + 6 * 4 - 1 * 1
    radius = pixels(disc(8, 6, 2.5))
    assert radius.sum() == 16  # 4 + 8 + 4, by their distance
    assert np.array_equal(radius, radius[::-1, ::-1])


def test_corners_in_the_last_pixels_reach_the_edge() -> None:
    corners = [[2, 3], [WIDTH - 1, 3], [WIDTH - 1, HEIGHT - 1], [2, HEIGHT - 1]]
    assert pixels(polygon(corners)).sum() == 13 * 8
    assert np.array_equal(pixels(polygon(corners), to_edge=True), inside([[2, 3], [0, 0], [WIDTH, HEIGHT], [0, 0]]))


@pytest.mark.parametrize("kind", [ROWS, COLUMNS])
def test_runs(kind: int) -> None:
    random = np.random.RandomState(1)
    for value in (0, 1):
        window = random.rand(5, 7) < 0.5
        window[0, 0] = value
        lengths = run_lengths(window if kind == ROWS else window.T)
        wanted = np.zeros((HEIGHT, WIDTH), bool)
        wanted[3:8, 12:16] = window[:, :4]  # the rest lies beyond the picture
        assert np.array_equal(pixels(runs(lengths, 12, 3, 7, 5, kind)), wanted)
        assert np.array_equal(pixels(mask(window, 12, 3)), wanted)


def labels_of(root: Path, labels: Path) -> NDArray[np.uint8]:
    return AnnotatedImages(str(root / "images"), str(labels), ["road", "car"], 255).label(0)


def test_runs_of_coco(tmp_path: Path) -> None:
    """Along columns; as numbers, and as pycocotools packs them."""
    coder = pytest.importorskip("pycocotools.mask")
    pictures(tmp_path)
    random = np.random.RandomState(4)
    wanted = random.rand(HEIGHT, WIDTH) < 0.3
    wanted[:, 3:9] = wanted[0, 3]  # long runs, so that numbers have more than one letter
    packed = coder.encode(np.asfortranarray(wanted.astype(np.uint8)))["counts"].decode()
    for counts in (packed, run_lengths(wanted.T)):
        plain = coco_plain()
        plain["annotations"][:2] = [plain["annotations"][0] | {"segmentation": {"size": [12, 16], "counts": counts}}]
        assert np.array_equal(labels_of(tmp_path, written(tmp_path / "x.json", plain)) == 1, wanted)


def test_polygons_are_nearly_those_of_pycocotools() -> None:
    coder = pytest.importorskip("pycocotools.mask")
    random = np.random.RandomState(0)
    angles = np.sort(random.rand(40)) * 2 * np.pi
    corners = np.stack([100 + 80 * np.cos(angles), 90 + 70 * np.sin(angles)], 1)
    theirs = coder.decode(coder.merge(coder.frPyObjects([corners.ravel().tolist()], 200, 220))).astype(bool)
    ours = pixels(polygon(corners), height=200, width=220)
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.995


def test_masks_of_cvat(tmp_path: Path) -> None:
    pictures(tmp_path)
    window = np.random.RandomState(0).rand(3, 5) < 0.5
    lengths = ", ".join(map(str, run_lengths(window)))
    masks = f'<mask label="car" rle="{lengths}" left="2" top="1" width="5" height="3" z_order="9"></mask><polygon '
    found = labels_of(tmp_path, written(tmp_path / "a.xml", cvat_text().replace("<polygon ", masks, 1)))
    assert np.array_equal(found[1:4, 2:7] == 1, window)


def packed(values: NDArray[np.uint8]) -> list[int]:
    """As Label Studio packs a brush: runs of one value by lengths of 4 bits, and of several by lengths of 8."""
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{size - 1:04b}" for size in (4, 8, 12, 16))
    place = 0
    while place < len(values):
        if place % 3:
            count = 1
            while count < 16 and place + count < len(values) and values[place + count] == values[place]:
                count += 1
            bits += f"1{0:02b}{count - 1:04b}{values[place]:08b}"
        else:
            count = min(20, len(values) - place)
            bits += f"0{1:02b}{count - 1:08b}" + "".join(f"{value:08b}" for value in values[place : place + count])
        place += count
    bits += "0" * (-len(bits) % 8)
    return [int(bits[start : start + 8], 2) for start in range(0, len(bits), 8)]


def test_brushes_of_label_studio(tmp_path: Path) -> None:
    pictures(tmp_path)
    alpha = np.where(inside(CAR), 255, 0).astype(np.uint8)
    alpha[4, 4:10] = (127, 128, 0, 255, 1, 200)
    colours = np.dstack([np.full_like(alpha, 9), alpha // 2, alpha // 3, alpha])
    tasks = label_studio_plain()
    value = {"format": "rle", "rle": packed(colours.ravel()), "brushlabels": ["car"]}
    tasks[0]["annotations"][0]["result"][:2] = [
        tasks[0]["annotations"][0]["result"][0] | {"type": "brushlabels", "value": value}
    ]
    assert np.array_equal(labels_of(tmp_path, written(tmp_path / "a.json", tasks)) == 1, alpha >= 128)


def test_shapes_of_labelme(tmp_path: Path) -> None:
    pictures(tmp_path)
    labels = TOOLS["labelme"](tmp_path)
    window = np.random.RandomState(0).rand(3, 5) < 0.5
    shapes: list[dict[str, Any]] = [
        {"label": "road", "shape_type": "rectangle", "points": [[9, 12], [1, 7]]},
        {"label": "car", "shape_type": "circle", "points": [[12, 3], [12, 5]]},
        {"label": "car", "shape_type": "mask", "points": [[2, 1], [6, 3]],
         "mask": base64.b64encode(png(window)).decode()},
    ]  # fmt: skip
    written(labels / "a.json", labelme_plain("a.png") | {"shapes": shapes, "imageHeight": None, "imageWidth": None})
    found = labels_of(tmp_path, labels)
    assert np.array_equal(found == 0, inside([[1, 7], [0, 0], [9, 12], [0, 0]]))
    assert np.array_equal(found[1:4, 2:7] == 1, window)
    assert np.array_equal(found[1:5, 10:14] == 1, [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]])
