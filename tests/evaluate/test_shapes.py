"""Contours and sizes: as plain references count them, exact whatever the order and the number of processes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from gkd_lightning.data.minicity import MiniCity
from gkd_lightning.evaluate import SHAPE_COLUMNS, SIZES, DomainScore, ImageCounter, Results, Shapes, from_confusion
from gkd_lightning.evaluate.shape_counts import boundary_counts, boundary_width, connected_parts, size_counts
from tests.evaluate.builders import SPACE, run

CLASSES = 3
Map = NDArray[np.uint8]


def blobs(height: int, width: int, seed: int, scale: float = 2.0) -> Map:
    """Classes in patches, with holes without truth."""
    rng = np.random.default_rng(seed)
    noise = [cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), scale) for _ in range(CLASSES)]
    label = np.argmax(noise, axis=0).astype(np.uint8)
    label[cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), 1.5) > 0.25] = 255
    return label


def pairs() -> list[tuple[Map, Map]]:
    """Predictions and labels: of several shapes, one all alike, one without any truth, real streets."""
    drawn = [
        (np.where(blobs(h, w, n + 50) == 255, 1, blobs(h, w, n + 50)).astype(np.uint8), blobs(h, w, n))
        for n, (h, w) in enumerate([(40, 56), (7, 90), (1, 12), (64, 64)])
    ]
    nothing = np.full((9, 9), 255, np.uint8)
    streets = MiniCity(style="game", size=2, offset=200000)
    street = (np.roll(streets.label(0), 2, 1) % CLASSES, streets.label(0) % CLASSES)
    return [*drawn, (np.ones((9, 9), np.uint8), np.ones((9, 9), np.uint8)), (nothing * 0, nothing), street]


def eroded(mask: Map) -> Map:
    """As the paper has it: zeros around the image, then a square of 3x3 as often as the band is wide."""
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    times = max(1, round(0.02 * float(np.hypot(*mask.shape))))
    return np.asarray(cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=times)[1:-1, 1:-1], np.uint8)


@pytest.mark.parametrize("case", range(7))
def test_a_contour_is_what_the_papers_erosion_takes_away(case: int) -> None:
    prediction, label = pairs()[case]
    found = boundary_counts(torch.from_numpy(prediction), torch.from_numpy(label), CLASSES)
    known = label != 255
    for number in range(CLASSES):
        masks = [(each == number) & known for each in (prediction, label)]
        bands = [mask & (eroded(mask.astype(np.uint8)) == 0) for mask in masks]
        expected = [(bands[0] & bands[1]).sum(), bands[0].sum(), bands[1].sum()]
        assert found[:, number].tolist() == expected


def test_the_bands_width_is_two_percent_of_the_diagonal() -> None:
    assert [boundary_width(*size) for size in [(1024, 2048), (96, 96), (512, 1024), (10, 10)]] == [46, 3, 23, 1]
    label = torch.zeros(100, 100, dtype=torch.uint8)  # a band of 3 pixels along the border of the image
    assert boundary_counts(label, label, CLASSES)[:, 0].tolist() == [100**2 - 94**2] * 3


@pytest.mark.parametrize("case", range(7))
def test_parts_are_those_of_scipy_class_by_class(case: int) -> None:
    prediction, label = pairs()[case]
    found = size_counts(torch.from_numpy(prediction), torch.from_numpy(label), CLASSES)
    expected = np.zeros((3, len(SIZES), CLASSES), int)
    for number in range(CLASSES):
        parts, count = ndimage.label(label == number)
        for part in range(1, count + 1):
            inside = parts == part
            share = inside.sum() / label.size
            size = 0 if share < 1 / 300 else 2 if share >= 0.03 else 1
            expected[:, size, number] += [1, inside.sum(), (inside & (prediction == number)).sum()]
    np.testing.assert_array_equal(found.numpy(), expected)


def test_sizes_begin_where_it_is_said() -> None:
    """In an image of 30x20 pixels: small below 2, large from 18 on."""
    label = np.full((20, 30), 255, np.uint8)
    label[0, 0] = label[19, 0:2] = label[5, 5:22] = label[10, 5:23] = 1
    found = size_counts(torch.ones(20, 30).long(), torch.from_numpy(label), CLASSES)
    assert found[0, :, 1].tolist() == [1, 2, 1]
    assert found[1, :, 1].tolist() == found[2, :, 1].tolist() == [1, 19, 18]


def test_a_corner_joins_nothing() -> None:
    label = np.array([[1, 0, 255], [0, 1, 1]], np.uint8)
    assert connected_parts(label)[1] - 1 == 4


def test_scores_by_hand() -> None:
    """Two classes of three: one half right near contours, one never there; small parts of the first alone."""
    found = Shapes.of(
        torch.tensor([[10, 0, 0], [20, 5, 0], [10, 5, 0]]),
        torch.tensor([[[2, 0, 0], [1, 1, 0], [0, 0, 0]]] * 1 + [[[8, 0, 0], [20, 40, 0], [0, 0, 0]]] * 1
                     + [[[2, 0, 0], [10, 40, 0], [0, 0, 0]]]),
    )  # fmt: skip
    assert found.boundary_iou == [50, 0, None]
    assert found.boundary_miou == 25
    assert found.recall("small") == [25, None, None]
    assert (found.recall_small, found.recall_medium) == (25, 75)
    assert np.isnan(found.recall_large)
    plain = found.asdict()
    assert plain["recall_large"] is None
    assert Shapes.from_dict(plain) == found
    with pytest.raises(ValueError, match=r"contours 0\.05 of the diagonal wide"):
        Shapes.from_dict({**plain, "distance": 0.05})


def batch() -> tuple[Tensor, Tensor, list[str]]:
    labels = [blobs(24, 31, seed) for seed in range(5)]
    found = [np.where(blobs(24, 31, seed + 9) == 255, 0, blobs(24, 31, seed + 9)) for seed in range(5)]
    return torch.from_numpy(np.stack(found).astype(np.uint8)), torch.from_numpy(np.stack(labels)), list("cadbe")


def scored(metric: ImageCounter, matrix: Tensor) -> DomainScore:
    assert metric.shape_counts is not None
    return from_confusion("day", matrix, SPACE.names, metric.num_images, shapes=Shapes.of(*metric.shape_counts))


def _rank(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    prediction, label, names = batch()
    metric = ImageCounter(CLASSES, shapes=True)
    metric.update(prediction[rank::world], label[rank::world], names[rank::world])
    score = scored(metric, metric.compute())
    Results("r", "r", [run("gkd", domains=[score])], created="").save(f"{folder}/rank{rank}.json")
    dist.destroy_process_group()


def test_two_processes_write_the_file_of_one(tmp_path: Path) -> None:
    mp.start_processes(_rank, args=(2, str(tmp_path)), nprocs=2, start_method="fork")  # imports nothing again
    prediction, label, names = batch()
    metric = ImageCounter(CLASSES, shapes=True)
    for part in ([4, 0], [], [3, 1, 2]):
        metric.update(prediction[part], label[part], [names[index] for index in part])
    score = scored(metric, metric.compute())
    Results("r", "r", [run("gkd", domains=[score])], created="").save(tmp_path / "one.json")
    for rank in range(2):
        assert (tmp_path / f"rank{rank}.json").read_bytes() == (tmp_path / "one.json").read_bytes()


def test_files_hold_it_where_it_was_asked_for() -> None:
    prediction, label, names = batch()
    metric = ImageCounter(CLASSES, shapes=True)
    metric.update(prediction, label, names)
    score = scored(metric, metric.compute())
    before = Results("r", "r", [run("gkd", domains=[score])])
    assert Results.from_dict(before.asdict()).runs == before.runs
    head, line = (text.split(",") for text in before.to_csv().splitlines())
    for name in SHAPE_COLUMNS:
        assert float(line[head.index(name) - len(head)]) == pytest.approx(getattr(score.shapes, name), abs=1e-4)
    plain = ImageCounter(CLASSES)
    plain.update(prediction, label, names)
    old = from_confusion("day", plain.compute(), SPACE.names, 5)
    assert plain.shape_counts is None
    assert "boundary_miou" not in Results("r", "r", [run("gkd", domains=[old])]).to_csv()
    assert run("gkd", domains=[old]).same_as(before.runs[0])
