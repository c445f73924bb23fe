"""Images per second of the loaders, beside plain torchvision loaders of the same files.

Three comparisons: photographs for stage 1a, two-megapixel PNG streets for stage 1b, the same with labels for stage 2.
Each maps names to functions that open an endless stream of finished batches; the first name is torchvision's loader.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Pillow
from timm.data import create_transform
from timm.data.auto_augment import RandAugment
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from torchvision.transforms.functional import pil_to_tensor

from gkd_bench.contender import Comparison, Contender
from gkd_bench.pictures import write_photographs, write_streets
from gkd_lightning.data import DistillAugmentation, ProxyDataModule, ProxyImages, SourceDataModule
from gkd_lightning.data.augment.distill import keep_some_bits
from gkd_lightning.data.augment.segment import default_short_edges
from gkd_lightning.data.benchmarks.catalogue import published_parts
from gkd_lightning.data.benchmarks.published import PublishedSegmentation
from gkd_lightning.data.folder import FolderSegmentation
from gkd_lightning.data.prepare import prepare
from gkd_lightning.errors import UserError

Stream = Callable[[], Iterator[int]]
"""Opens a loader; every item is the number of images of a batch that is ready."""

PLAIN = "torchvision"


def contenders(
    folder: Path,
    workers: int = 0,
    photographs: Path | None = None,
    streets: Path | None = None,
    images: tuple[int, int] = (64, 12),
) -> dict[str, dict[str, Stream]]:
    """All three comparisons: `stage1a`, `stage1b`, `stage2`.

    Args:
        folder: for the images that are made and the prepared copy; what an earlier call left there is used again.
        workers: loading processes of every contender; 0 loads in this one.
        photographs: an ImageFolder tree of real photographs, instead of made ones.
        streets: a GTAV tree of real streets, instead of made ones.
        images: how many photographs and streets to make.
    """
    if photographs is None:
        made = folder / "photographs"
        photographs = made if made.is_dir() else write_photographs(folder, images[0])
    if streets is None:
        made = folder / "gtav"
        streets = made if made.is_dir() else write_streets(folder, images[1])
    copy = folder / "gtav_fast"
    prepare("fast", "gtav", str(streets), copy)
    return {
        "stage1a": photograph_contenders(photographs, workers),
        "stage1b": street_contenders(streets, copy, workers),
        "stage2": labelled_contenders(streets, copy, workers),
    }


def photograph_contenders(root: Path, workers: int = 0, batch_size: int = 16, size: int = 224) -> dict[str, Stream]:
    """Stage 1a's samples of the JPEGs below `root`, an ImageFolder tree."""

    def ours(repeats: int = 1, **settings: Any) -> Stream:
        augmentation = DistillAugmentation(**settings)
        return _ours(
            lambda: ProxyDataModule(
                ProxyImages(str(root)), size, batch_size, workers, augmentation=augmentation, repeats=repeats
            )
        )

    return {
        PLAIN: _plain(lambda: ImageFolder(str(root), _official_transform(size)), workers, batch_size),
        "gkd": ours(),
        "gkd, every image three times": ours(repeats=3),
        "gkd, reduced decoding": ours(reduced_decoding=True),
        "gkd, what is left to workers by on_device": ours(on_device=True),
        "gkd, every image three times, by on_device": ours(repeats=3, on_device=True),
    }


def street_contenders(
    root: Path, copy: Path, workers: int = 0, batch_size: int = 4, size: int = 512
) -> dict[str, Stream]:
    """Stage 1b's samples of GTAV's PNGs below `root`, and of their prepared `copy`."""

    def ours(folder: Path, **settings: Any) -> Stream:
        augmentation = DistillAugmentation(**settings)
        return _ours(
            lambda: SourceDataModule(
                _labelled(folder), "distillation", size, batch_size, workers, distill_augmentation=augmentation
            )
        )

    def plain() -> Dataset[Any]:
        def is_image(path: str) -> bool:
            return "images" in Path(path).relative_to(root).parts

        images: Dataset[Any] = ImageFolder(
            str(root), _official_transform(size), is_valid_file=is_image, allow_empty=True
        )
        return images

    return {
        PLAIN: _plain(plain, workers, batch_size),
        "gkd": ours(root),
        "gkd, prepared copy": ours(copy),
        "gkd, prepared copy, what is left to workers by on_device": ours(copy, on_device=True),
    }


def labelled_contenders(
    root: Path, copy: Path, workers: int = 0, batch_size: int = 4, size: int = 512
) -> dict[str, Stream]:
    """Stage 2's samples, image and label, of GTAV's tree below `root`, and of its prepared `copy`."""

    def ours(folder: Path) -> Stream:
        return _ours(lambda: SourceDataModule(_labelled(folder), "segmentation", size, batch_size, workers))

    return {
        PLAIN: _plain(lambda: PlainPairs(_labelled(root), size), workers, batch_size),
        "gkd": ours(root),
        "gkd, prepared copy": ours(copy),
    }


class Batches:
    """A stream as work that is done step by step.

    Args:
        stream: one of a comparison's.
    """

    def __init__(self, stream: Stream) -> None:
        self._batches = stream()

    def step(self) -> int:
        """Wait for the next batch; how many images it has."""
        return next(self._batches)


def stream(
    device: str, comparison: str, name: str, folder: str, workers: int = 0, photographs: str | None = None
) -> Batches:
    """One contender by its names, made from plain values; loaders do not depend on the device.

    Args:
        comparison: `stage1a`, `stage1b` or `stage2`.
        name: of the contender.
        folder: see `contenders`.
        workers: loading processes.
        photographs: a tree of real ones.
    """
    real = None if photographs is None else Path(photographs)
    return Batches(contenders(Path(folder), workers, photographs=real)[comparison][name])


def comparisons(device: str, peers: Sequence[str] = ()) -> list[Comparison]:
    """See `suites.comparisons`: images per second of one core, no workers.

    The images are made below the system's folder for temporary files and stay there for the next time. With
    ``GKD_BENCH_IMAGES`` set, photographs are read from that ImageFolder tree.
    """
    folder = str(Path(tempfile.gettempdir()) / "gkd-bench-images")
    options = {"folder": folder, "photographs": os.environ.get("GKD_BENCH_IMAGES")}
    nowhere = Path()  # names alone: nothing is opened before a stream is
    named = {
        "stage1a": ("JPEG photographs for stage 1a, 224 px", photograph_contenders(nowhere)),
        "stage1b": ("Two-megapixel PNG streets for stage 1b, 512 px", street_contenders(nowhere, nowhere)),
        "stage2": ("Two-megapixel PNG streets with labels for stage 2, 512 px", labelled_contenders(nowhere, nowhere)),
    }
    target = f"{stream.__module__}:{stream.__name__}"
    return [
        Comparison(
            f"loaders-{comparison}",
            f"Loading: {title}, one thread",
            tuple(
                Contender(name, target, {"comparison": comparison, "name": name, **options}, threads=1)
                for name in streams
            ),
        )
        for comparison, (title, streams) in named.items()
    ]


class PlainPairs(Dataset[tuple[Tensor, Tensor]]):
    """GTAV with torchvision's own transforms, as its documentation composes them for segmentation.

    Args:
        labelled: names the files and the train id of every stored id.
        size: side of the crops.
    """

    def __init__(self, labelled: FolderSegmentation, size: int) -> None:
        self._labelled = labelled
        self._train_ids = torch.full((256,), 255, dtype=torch.uint8)
        for stored, train in labelled._mapping.mapping.items():
            if 0 <= stored < 256:
                self._train_ids[stored] = train
        self._transform = v2.Compose(
            [
                v2.RandomShortestSize(list(default_short_edges(size)), max_size=4 * size, antialias=False),
                v2.RandomCrop(size, pad_if_needed=True),
                v2.RandomHorizontalFlip(),
                v2.RandomPhotometricDistort(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
            ]
        )

    def __len__(self) -> int:
        return len(self._labelled)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        with (
            Pillow.open(self._labelled.image_path(index)) as picture,
            Pillow.open(self._labelled.label_path(index)) as ids,
        ):
            image = tv_tensors.Image(pil_to_tensor(picture.convert("RGB")))
            stored = tv_tensors.Mask(pil_to_tensor(ids))
        crop, label = self._transform(image, stored)
        return crop.as_subclass(Tensor), self._train_ids[label.as_subclass(Tensor)[0].int()]


def _labelled(root: Path) -> FolderSegmentation:
    found = next(iter(published_parts("gtav", str(root)).values()))
    assert isinstance(found, PublishedSegmentation)
    assert isinstance(found.files, FolderSegmentation)
    return found.files


def _official_transform(size: int) -> Callable[[Any], Tensor]:
    """What the official stage 1 gets from timm, to normalised floats."""
    made = create_transform(
        size,
        is_training=True,
        auto_augment="rand-m9-mstd0.5-inc1",
        interpolation="bicubic",
        re_prob=0.25,
        re_mode="pixel",
        re_count=1,
    )
    for step in made.transforms:
        if isinstance(step, RandAugment):
            keep_some_bits(step)
    whole: Callable[[Any], Tensor] = made
    return whole


def _plain(dataset: Callable[[], Dataset[Any]], workers: int, batch_size: int) -> Stream:
    def open_stream() -> Iterator[int]:
        loader = DataLoader(
            dataset(),
            batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        if not len(loader):  # else it would wait for a batch for ever
            raise UserError(f"too few images for a batch of {batch_size}")
        while True:
            for images, _ in loader:
                yield len(images)

    return open_stream


def _ours(module: Callable[[], ProxyDataModule | SourceDataModule]) -> Stream:
    def open_stream() -> Iterator[int]:
        loader = module().train_dataloader()
        while True:
            for batch in loader:
                yield len(batch["image"])

    return open_stream
