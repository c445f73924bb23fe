"""From a data set to batches: what a worker process does with one index, and the loader around it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from gkd_lightning.data.augment import DistillTransform, SegmentTransform
from gkd_lightning.data.frames import image_and_label
from gkd_lightning.data.protocol import Protocol
from gkd_lightning.data.sampling import KeyedBatches, ShardedBatches
from gkd_lightning.data.segments import Segments, segments_of
from gkd_lightning.data.types import Image, ImageDataset, Label, SegmentationDataset
from gkd_lightning.data.unknown import has_unknown, unknown_of
from gkd_lightning.errors import UserError

Batch = dict[str, Any]
Collate = Callable[[list[Batch]], Batch]
View = Dataset[Batch]
"""A data set as one kind of training or evaluation sees it."""


class DistillationView(View):
    """Unlabelled, augmented for stage 1; never touches a label. Index: (image, key), or (image, key, side).

    The image decoded last is kept: repeated augmentation asks for it again at once (on one device), and decoding a
    large PNG takes longer than everything that follows.
    """

    def __init__(self, dataset: ImageDataset, *transforms: DistillTransform) -> None:
        self.dataset, self.transform = dataset, transforms[0]
        self._by_side = {each.size: each for each in transforms}
        self._last: tuple[int, Image] | None = None

    def __getitem__(self, index: tuple[int, ...]) -> dict[str, Any]:
        """`image` uint8 (3, S, S), `key`; with augmentation on the device the plan of the rest too."""
        position, key, *side = index
        image = self._file(position) or self._image(position)
        transform = self._by_side[side[0]] if side else self.transform
        if transform.config.on_device:
            return {**transform.plan(image, key), "key": key}
        return {"image": transform(image, key), "key": key}

    def _file(self, position: int) -> Path | None:
        plain_file: Callable[[int], Path | None] | None = getattr(self.dataset, "plain_file", None)
        return plain_file(position) if plain_file and self.transform.config.reduced_decoding else None

    def _image(self, position: int) -> Image:
        if self._last is None or self._last[0] != position:
            self._last = position, self.dataset.image(position)
        return self._last[1]


class SegmentationView(View):
    """Labelled, augmented for stage 2; a label of another resolution is brought to the image's. Index: (image, key).

    With `panoptic` the codes of segments go the label's way in its place, so that the two cannot differ.
    """

    def __init__(self, dataset: SegmentationDataset, transform: SegmentTransform, panoptic: bool = False) -> None:
        self.dataset, self.transform, self.panoptic = dataset, transform, panoptic

    def __getitem__(self, index: tuple[int, int]) -> dict[str, Any]:
        """`image` uint8 (3, S, S), `label` uint8 (S, S), `key`; with `panoptic` also `segments` int32 (S, S)."""
        position, key = index
        image, label = image_and_label(self.dataset, position)
        truth: Label | Segments = segments_of(self.dataset, position, label) if self.panoptic else label
        height, width = image.shape[:2]
        if truth.shape != (height, width):
            truth = cv2.resize(truth, (width, height), interpolation=cv2.INTER_NEAREST)
        crop, target = self.transform(image, truth, key)
        if self.panoptic:
            return {"image": crop, "label": target.to(torch.uint8), "segments": target, "key": key}
        return {"image": crop, "label": target, "key": key}


class EvaluationView(View):
    """Labelled, resized by the protocol; labels keep their size. Index: an image or `ShardedBatches.PADDING`."""

    def __init__(self, dataset: SegmentationDataset, protocol: Protocol, panoptic: bool = False) -> None:
        self.dataset, self.protocol, self.panoptic = dataset, protocol, panoptic

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`image` uint8 (3, h, w), `label` uint8 (H, W), `name` (empty for padding), if asked `segments` (H, W).

        Where the data set knows of unknown objects also `unknown` bool (H, W).
        """
        padding = index == ShardedBatches.PADDING
        position = 0 if padding else index
        image, label = image_and_label(self.dataset, position)
        image = self.protocol.resized(image)
        further = {"segments": torch.from_numpy(segments_of(self.dataset, position, label))} if self.panoptic else {}
        if has_unknown(self.dataset):
            further["unknown"] = torch.from_numpy(unknown_of(self.dataset, position, label))
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "label": torch.from_numpy(np.full_like(label, 255) if padding else label),
            "name": "" if padding else self.dataset.name(position),
            **further,
        }


class EvaluationBatch(TypedDict):
    """What an evaluation step gets."""

    segments: NotRequired[Tensor]
    """int32 (B, H, W) codes, see `data.segments`; of domains with instances, if they are asked for."""
    unknown: NotRequired[Tensor]
    """bool (B, H, W): pixels of objects that no class is for; of domains that know of them."""

    image: Tensor
    """uint8 (B, 3, h, w), resized by the protocol."""
    label: Tensor
    """uint8 (B, H, W) train ids at native size, 255 ignored."""
    name: list[str]
    domain: str


def collate_domain(domain: str, samples: list[dict[str, Any]]) -> EvaluationBatch:
    """Stack evaluation samples and add the domain's name.

    Raises:
        UserError: images or labels of different sizes in one batch.
    """
    for what in ("image", "label"):
        sizes = {tuple(sample[what].shape[-2:]) for sample in samples}
        if len(sizes) > 1:
            raise UserError(f"{domain}: {what}s of sizes {sorted(sizes)} cannot share a batch; set batch_size to 1")
    batch: EvaluationBatch = {
        "image": default_collate([sample["image"] for sample in samples]),
        "label": default_collate([sample["label"] for sample in samples]),
        "name": [sample["name"] for sample in samples],
        "domain": domain,
    }
    if "segments" in samples[0]:
        batch["segments"] = default_collate([sample["segments"] for sample in samples])
    if "unknown" in samples[0]:
        batch["unknown"] = default_collate([sample["unknown"] for sample in samples])
    return batch


def collate_and_add(collate: Collate, add: Callable[[Batch], Batch], samples: list[Batch]) -> Batch:
    """Collate, and add what a function makes of the collated batch."""
    batch = collate(samples)
    return {**batch, **add(batch)}


@dataclass
class Waiting:
    """Seconds that whoever iterates over a loader has waited for its batches."""

    seconds: float = 0.0


class Loader(DataLoader[dict[str, Any]]):
    """A loader that tells a user's mistake in one line, also when a worker process found it.

    Attributes:
        waiting: counted over all iterations.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting = Waiting()

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        return _told_in_one_line(super().__iter__(), self.waiting)


def _told_in_one_line(batches: Iterator[dict[str, Any]] | None, waiting: Waiting) -> Iterator[dict[str, Any]]:
    while batches is not None:
        begun = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            return
        except UserError as error:
            whole, told = str(error), str(error).rpartition(f"{UserError.__name__}: ")[2].strip()
            # torch's frames form a cycle with the error. Collected later as a cycle, the iterator would wait five
            # seconds for every worker, because the handles it watches them by are gone first.
            error.__traceback__, batches = None, None
            one_line = UserError(told)
            if told != whole:
                one_line.add_note(whole)  # what happened in the worker, for --traceback
            raise one_line from None
        waiting.seconds += time.perf_counter() - begun
        yield batch


class TrainLoader(Loader):
    """A loader that Lightning knows how to resume: its state is its sampler's."""

    batch_sampler: KeyedBatches

    def state_dict(self) -> dict[str, Any]:
        """See `KeyedBatches.state_dict`."""
        return self.batch_sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `KeyedBatches.load_state_dict`."""
        self.batch_sampler.load_state_dict(state)


def loader_options(num_workers: int, seed: int, pin_memory: bool) -> Mapping[str, Any]:
    """Options shared by all loaders. The generator is their own, so that loading never moves torch's global one."""
    return {
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
        "pin_memory": pin_memory,
        "worker_init_fn": _quiet_worker,
        "generator": torch.Generator().manual_seed(seed),
    }


def _quiet_worker(worker: int) -> None:
    """One thread per worker: OpenCV and OpenMP would start as many as there are cores in each."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)  # OpenMP's too, as far as it is loaded
    os.environ["OMP_NUM_THREADS"] = "1"  # for what a data set loads later
