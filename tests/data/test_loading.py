"""Pixels depend on (seed, epoch, position) only: not on workers, ranks or what ran before."""

from __future__ import annotations

import multiprocessing
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from gkd_lightning.data import (
    DistillAugmentation,
    DistillTransform,
    FolderSegmentation,
    Image,
    SegmentAugmentation,
    SegmentTransform,
    SourceDataModule,
    TargetDataModule,
)  # fmt: skip
from gkd_lightning.data.loading import (
    DistillationView,
    EvaluationView,
    Loader,
    SegmentationView,
    _quiet_worker,
    collate_domain,
    loader_options,
)  # fmt: skip
from gkd_lightning.data.protocol import Protocol
from gkd_lightning.data.sampling import ShardedBatches
from gkd_lightning.errors import UserError
from tests.data.helpers import Scribbles, save, write_folder


def source(view: str, workers: int = 0, **options: Any) -> SourceDataModule:
    return SourceDataModule(Scribbles(9), view, 16, 4, workers, **options)  # type: ignore[arg-type]


def epochs(module: SourceDataModule, count: int = 2) -> list[list[dict[str, torch.Tensor]]]:
    loader = module.train_dataloader()
    return [list(loader) for _ in range(count)]


def same(first: list[list[dict[str, torch.Tensor]]], second: list[list[dict[str, torch.Tensor]]]) -> bool:
    pairs = [pair for one, two in zip(first, second, strict=True) for pair in zip(one, two, strict=True)]
    return all(a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a) for a, b in pairs)


@pytest.mark.parametrize("view", ["distillation", "segmentation"])
def test_workers_change_no_pixel_and_epochs_differ(view: str) -> None:
    alone = epochs(source(view))
    assert same(alone, epochs(source(view, workers=1)))
    assert same(alone, epochs(source(view, workers=3)))
    first, second = alone
    assert not any(torch.equal(a["image"], b["image"]) for a, b in zip(first, second, strict=True))
    assert not set(first[0]["key"].tolist()) & set(second[0]["key"].tolist())
    assert not same(alone, epochs(source(view, seed=1)))


def test_what_a_batch_holds() -> None:
    (batch, _), _ = epochs(source("segmentation"))
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "image": ((4, 3, 16, 16), torch.uint8),
        "label": ((4, 16, 16), torch.uint8),
        "key": ((4,), torch.int64),
    }
    (batch, _), _ = epochs(source("distillation"))
    assert set(batch) == {"image", "key"}


def test_what_goes_to_workers_can_be_pickled() -> None:
    """Under spawn and forkserver data sets and transforms travel so."""
    loader = source("segmentation").train_dataloader()
    view = pickle.loads(pickle.dumps(loader.dataset))
    sample, again = loader.dataset[(0, 5)], view[(0, 5)]
    assert all(torch.equal(sample[name], again[name]) for name in ("image", "label"))
    evaluation = TargetDataModule({"x": Scribbles(1)}).test_dataloader()[0]
    for part in (evaluation.dataset, evaluation.collate_fn, loader.worker_init_fn):
        pickle.dumps(part)


def test_the_distillation_view_never_opens_a_label(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a", "b", "c", "d"])
    for label in (tmp_path / "labels").iterdir():
        label.write_bytes(b"not an image")
    data = FolderSegmentation(str(tmp_path / "images"), str(tmp_path / "labels"), ["road", "car"])
    module = SourceDataModule(data, "distillation", 16, 2)
    module.setup("fit")
    assert len(list(module.train_dataloader())) == 2
    assert module.manifest()["images"] == 4
    with pytest.raises(UserError, match="cannot be read as label"):
        list(SourceDataModule(data, "segmentation", 16, 2).train_dataloader())


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_file_is_one_line_also_from_a_worker(tmp_path: Path, workers: int) -> None:
    images, labels = write_folder(tmp_path, ["a", "b"])
    (images / "b.png").write_bytes(b"broken")
    data = FolderSegmentation(str(images), str(labels), ["road", "car"])
    others = set(multiprocessing.active_children())
    with pytest.raises(UserError) as caught:
        list(SourceDataModule(data, "distillation", 16, 2, workers).train_dataloader())
    assert str(caught.value) == (
        f"{images / 'b.png'}: cannot be read as image: the format is unknown or the file is damaged; "
        "repair or remove the file"
    )
    assert bool(getattr(caught.value, "__notes__", [])) == (workers > 0)
    assert set(multiprocessing.active_children()) <= others, (
        "left to the garbage collector, torch waits for them in vain"
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_image_and_label_of_different_sizes(tmp_path: Path, workers: int) -> None:
    images, labels = write_folder(tmp_path, ["a"])
    save(labels / "a.png", Scribbles(1, 8, 14).label(0))
    data = FolderSegmentation(str(images), str(labels), ["road", "car"])
    with pytest.raises(UserError, match=r"^a: the image is 24x16 but its label 14x8; `gkd data check`"):
        list(SourceDataModule(data, "segmentation", 16, 1, workers).train_dataloader())
    with pytest.raises(UserError, match=r"^a: the image is 24x16 but its label 14x8; `gkd data check`"):
        list(TargetDataModule({"x": data}, num_workers=workers).test_dataloader()[0])
    save(labels / "a.png", Scribbles(1, 8, 12).label(0))
    (batch,) = TargetDataModule({"x": data}).test_dataloader()[0]
    assert batch["image"].shape[-2:] == (16, 24)
    assert batch["label"].shape[-2:] == (8, 12)  # scored in their own size


def test_a_label_of_half_the_resolution_is_stretched(tmp_path: Path) -> None:
    images, labels = write_folder(tmp_path, ["a"])
    half = Scribbles(1, 8, 12).label(0)
    save(labels / "a.png", half)
    halved = FolderSegmentation(str(images), str(labels), ["road", "car"])
    save(tmp_path / "whole/a.png", half.repeat(2, axis=0).repeat(2, axis=1))
    whole = FolderSegmentation(str(images), str(tmp_path / "whole"), ["road", "car"])
    first, second = (next(iter(SourceDataModule(d, "segmentation", 16, 1).train_dataloader())) for d in (halved, whole))
    assert torch.equal(first["image"], second["image"])
    assert torch.equal(first["label"], second["label"])


def test_evaluation_batches() -> None:
    module = TargetDataModule(
        {"day": Scribbles(3), "night": Scribbles(2, 30, 30)}, ["day"], batch_size=2, protocol=Protocol("fit", (15, 10))
    )
    day, night = module.test_dataloader()
    first, last = list(day)
    assert first["image"].shape == (2, 3, 10, 15)
    assert first["label"].shape == (2, 20, 30)
    assert first["name"] == ["scribble0", "scribble1"]
    assert last["name"] == ["scribble2"]
    assert {first["domain"], next(iter(night))["domain"]} == {"day", "night"}
    assert first["label"].dtype == first["image"].dtype == torch.uint8
    assert torch.equal(last["label"][0], torch.from_numpy(Scribbles(3).label(2)))


def test_padding_of_an_uneven_shard_counts_nowhere() -> None:
    loader = Loader(
        EvaluationView(Scribbles(3), Protocol()),
        batch_sampler=ShardedBatches(3, 1, rank=1, world_size=2),
        collate_fn=partial(collate_domain, "x"),
        **loader_options(0, 0, pin_memory=False),
    )
    real, padding = list(loader)
    assert real["name"] == ["scribble1"]
    assert padding["name"] == [""]
    assert padding["label"].unique().tolist() == [255]
    assert padding["image"].shape == real["image"].shape


@pytest.mark.parametrize("workers", [0, 1])
def test_sizes_that_cannot_share_an_evaluation_batch(tmp_path: Path, workers: int) -> None:
    images, labels = write_folder(tmp_path, ["a"])
    save(images / "b.png", Scribbles(1, 10, 10).image(0))
    save(labels / "b.png", Scribbles(1, 10, 10).label(0))
    data = FolderSegmentation(str(images), str(labels), ["road", "car"])
    with pytest.raises(UserError, match=r"^x: images of sizes \[\(10, 10\), \(16, 24\)\] cannot share a batch"):
        list(TargetDataModule({"x": data}, batch_size=2, num_workers=workers).test_dataloader()[0])


class Counting(Scribbles):
    """Remembers which images were decoded."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.decoded: list[int] = []

    def image(self, index: int) -> Image:
        self.decoded.append(index)
        return super().image(index)


def test_repeated_augmentation_decodes_an_image_once() -> None:
    data = Counting(6)
    view = DistillationView(data, DistillTransform(DistillAugmentation(), 16))
    samples = [view[(image, key)]["image"] for key, image in enumerate((2, 2, 2, 5, 5, 2))]
    assert data.decoded == [2, 5, 2]
    plain = DistillationView(Scribbles(6), DistillTransform(DistillAugmentation(), 16))
    for key, image in reversed(list(enumerate((2, 2, 2, 5, 5, 2)))):
        assert torch.equal(plain[(image, key)]["image"], samples[key])


def _threads(worker: int) -> None:
    _quiet_worker(worker)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)


def test_a_worker_computes_on_one_thread() -> None:
    options = {**loader_options(2, 0, pin_memory=False), "worker_init_fn": _threads}
    view = SegmentationView(Scribbles(2), SegmentTransform(SegmentAugmentation(), 16))
    assert len(list(Loader(view, batch_sampler=[[(0, 1)], [(1, 2)]], **options))) == 2  # type: ignore[arg-type]
