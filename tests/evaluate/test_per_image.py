"""Counts per image: they sum to the confusion matrix, survive ranks and files, and are paired by name only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import ConfusionMatrix, ImageCounter, ImageCounts, PerImage, merge_per_image
from gkd_lightning.evaluate.collection import Collection
from gkd_lightning.evaluate.pairing import pair
from tests.evaluate.judged import DOMAINS, IMAGES, judged

CLASSES = 5
NAMES = ["c", "a", "ä/b c", "d", "b"]


def images() -> tuple[Tensor, Tensor]:
    """Five images, class 4 occurs nowhere, a fifth of the pixels has no truth; the fourth image has none at all."""
    generator = torch.Generator().manual_seed(7)
    prediction = torch.randint(0, CLASSES - 1, (5, 6, 7), generator=generator)
    label = torch.randint(0, CLASSES - 1, (5, 6, 7), generator=generator).to(torch.uint8)
    label[torch.rand(label.shape, generator=generator) < 0.2] = 255
    label[3] = 255
    return prediction, label


def naive(prediction: np.ndarray, label: np.ndarray) -> list[list[int]]:
    """Pixel by pixel: right, predicted and true ones of each class."""
    rows = [[0] * CLASSES for _ in range(3)]
    for predicted, truth in zip(prediction.ravel(), label.ravel(), strict=True):
        if truth != 255:
            rows[0][truth] += int(predicted == truth)
            rows[1][predicted] += 1
            rows[2][truth] += 1
    return rows


def test_each_image_as_counted_pixel_by_pixel_and_all_as_the_matrix_has_them() -> None:
    prediction, label = images()
    counter, plain = ImageCounter(CLASSES), ConfusionMatrix(CLASSES)
    counter.update(prediction[:2], label[:2], NAMES[:2])
    counter.update(prediction[2:], label[2:], NAMES[2:])
    plain.update(prediction, label)
    matrix = counter.compute()
    assert torch.equal(matrix, plain.compute())
    assert counter.num_images == 5
    found = counter.image_counts
    assert found.names == tuple(sorted(NAMES))
    assert found.counts.dtype == np.uint32
    for name, counts in zip(found.names, found.counts, strict=True):
        index = NAMES.index(name)
        assert counts.tolist() == naive(prediction[index].numpy(), label[index].numpy())
    margins = [matrix.diagonal().tolist(), matrix.sum(0).tolist(), matrix.sum(1).tolist()]
    assert found.sums().tolist() == margins
    counter.reset()
    counter.update(prediction[:1], label[:1], NAMES[:1])
    counter.compute()
    assert counter.image_counts.names == ("c",)


def test_an_image_without_a_name_or_with_a_wrong_label_is_refused() -> None:
    prediction, label = images()
    with pytest.raises(ValueError, match="shorter"):
        ImageCounter(CLASSES).update(prediction, label, NAMES[:4])
    label[1, 0, 0] = 9
    with pytest.raises(UserError, match=r"^a: label id 9"):
        ImageCounter(CLASSES).update(prediction, label, NAMES)


def _rank(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world)
    prediction, label = images()
    for total in (5, 1):  # 3 and 2 images; then 1 and none, whose rank has padding alone
        metric = ImageCounter(CLASSES)
        for index in range(rank, total, world):
            metric.update(prediction[index : index + 1], label[index : index + 1], NAMES[index : index + 1])
        if rank >= total:
            metric.update(prediction[:0], label[:0], [])
        matrix = metric.compute()
        torch.save(matrix, f"{folder}/rank{rank}-{total}.pt")
        PerImage({("gkd", 0): {"day": metric.image_counts}}).save(f"{folder}/rank{rank}-{total}.npz")
    dist.destroy_process_group()


def test_every_rank_has_the_images_of_all_and_writes_the_file_of_one_process(tmp_path: Path) -> None:
    mp.start_processes(_rank, args=(2, str(tmp_path)), nprocs=2, start_method="fork")  # imports nothing again
    prediction, label = images()
    for total in (5, 1):
        single = ImageCounter(CLASSES)
        single.update(prediction[:total], label[:total], NAMES[:total])
        matrix = single.compute()
        PerImage({("gkd", 0): {"day": single.image_counts}}).save(tmp_path / "one.npz")
        for rank in range(2):
            assert torch.equal(torch.load(tmp_path / f"rank{rank}-{total}.pt", weights_only=True), matrix)
            assert (tmp_path / f"rank{rank}-{total}.npz").read_bytes() == (tmp_path / "one.npz").read_bytes()


def test_round_trip_and_the_names_are_stored_once(tmp_path: Path) -> None:
    before = judged({"gkd": 0.8, "mse": 0.7}).per_image
    before.save(tmp_path / "per_image.npz")
    after = PerImage.load(tmp_path / "per_image.npz")
    assert list(after.runs) == list(before.runs)
    for key, domains in before.runs.items():
        assert list(after.runs[key]) == list(domains)
        for domain, counts in domains.items():
            assert after.runs[key][domain].names == counts.names
            np.testing.assert_array_equal(after.runs[key][domain].counts, counts.counts)
    with np.load(tmp_path / "per_image.npz") as arrays:
        assert bytes(arrays["index"]).count(b"night_03") == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"{}"])
def test_a_damaged_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "per_image.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"per_image\.npz: no counts per image") as caught:
        PerImage.load(tmp_path / "per_image.npz")
    assert "\n" not in str(caught.value)


def test_the_first_counts_of_a_run_stay() -> None:
    first, second = judged({"gkd": 0.8}, luck=1).per_image, judged({"gkd": 0.8, "mse": 0.8}, luck=2).per_image
    merged = merge_per_image([first, second])
    assert merged.runs["gkd", 0] is first.runs["gkd", 0]
    assert merged.runs["mse", 0] is second.runs["mse", 0]


def test_a_count_beyond_32_bits_is_refused_not_wrapped() -> None:
    with pytest.raises(UserError, match="big"):
        ImageCounts.of(["big"], np.full((1, 3, 2), 2**32, np.int64))


def changed(found: Collection, domain: str, **changes: Any) -> PerImage:
    """The counts of mse seed 1 on one domain are others."""
    runs = {key: dict(domains) for key, domains in found.per_image.runs.items()}
    runs["mse", 1][domain] = replace(runs["mse", 1][domain], **changes)
    return PerImage(runs)


def test_pairs_are_the_same_images_of_the_unseen_domains() -> None:
    found = judged({"gkd": 0.8, "mse": 0.7})
    paired = pair(found.results, found.per_image)
    assert paired.images == dict.fromkeys(DOMAINS[1:], IMAGES)
    assert {domain: list(runs) for domain, runs in paired.counts.items()} == {
        name: ["gkd", "mse"] for name in DOMAINS[1:]
    }
    assert all(len(seeds) == 2 for runs in paired.counts.values() for seeds in runs.values())


def test_pairing_is_checked() -> None:
    found = judged({"gkd": 0.8, "mse": 0.7})
    kept = found.per_image.runs["mse", 1]["fog"]
    strangers = tuple(f"x{name}" for name in kept.names)
    with pytest.raises(UserError, match="fog: gkd seed 0 and mse seed 1 have no image in common"):
        pair(found.results, changed(found, "fog", names=strangers))
    with pytest.raises(UserError, match="fog: image a was judged for mse seed 1 but not for gkd seed 0"):
        pair(found.results, changed(found, "fog", names=("a", *kept.names[1:])))
    with pytest.raises(UserError, match=f"two images are called {kept.names[1]}"):
        pair(found.results, changed(found, "fog", names=(kept.names[1], *kept.names[1:])))
    swapped = kept.counts[[1, 0, *range(2, IMAGES)]]  # the sums stay as they are
    with pytest.raises(UserError, match=f"fog: the label of {kept.names[0]} is not the same"):
        pair(found.results, changed(found, "fog", counts=swapped))
    pair(found.results, changed(found, "game", names=strangers))  # the source is not drawn from


def test_counts_of_other_results_are_refused() -> None:
    found = judged({"gkd": 0.8, "mse": 0.7})
    more = found.per_image.runs["mse", 1]["night"].counts.copy()
    more[3, 1, 0] += 1
    with pytest.raises(UserError, match=r"mse seed 1, night: the counts .* do not belong together"):
        pair(found.results, changed(found, "night", counts=more))


def test_a_method_with_a_run_without_counts_is_left_out() -> None:
    found = judged({"gkd": 0.8, "mse": 0.7, "none": 0.6})
    runs = {key: domains for key, domains in found.per_image.runs.items() if key != ("mse", 1)}
    paired = pair(found.results, PerImage(runs))
    assert paired.missing == ("mse seed 1",)
    assert paired.methods == {"gkd", "none"}
