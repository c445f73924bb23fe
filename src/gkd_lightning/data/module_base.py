"""What the three data modules have in common: places in a distributed run, loaders, exact resuming."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.plugins.environments import SLURMEnvironment
from torch.utils.data import default_collate

from gkd_lightning.cores import AUTO, cores, loading_processes
from gkd_lightning.data.augment.device import collate_plans
from gkd_lightning.data.loading import (
    Batch,
    Collate,
    DistillationView,
    EvaluationView,
    Loader,
    TrainLoader,
    View,
    collate_and_add,
    collate_domain,
    loader_options,
)
from gkd_lightning.data.protocol import Protocol
from gkd_lightning.data.sampling import KeyedBatches, ShardedBatches, batch_sizes, split_batch, steps_per_epoch
from gkd_lightning.data.segments import has_instances
from gkd_lightning.data.types import SegmentationDataset
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Natural, Ranged

Workers = Natural | Literal["auto"]
"""`num_workers`: a number, or see `EvaluationModule.workers`."""


class EvaluationModule(Ranged, LightningDataModule):
    """What the three modules share: where in a distributed run this process is, and evaluation loaders."""

    allow_zero_length_dataloader_with_multiple_devices = True
    panoptic = False
    """Whether batches carry `segments` where a data set has instances; a model that wants them says so in `setup`."""

    def __init__(self, num_workers: Workers, seed: int, protocol: Protocol) -> None:
        super().__init__()
        self.num_workers, self.seed, self.protocol = num_workers, seed, protocol

    def protocol_of(self, domain: str) -> Protocol:
        """How the images of an evaluated domain are resized."""
        return self.protocol

    @property
    def panoptic_domains(self) -> list[str]:
        """Domains whose batches carry `segments`."""
        judged = self.judged if self.panoptic else {}
        return [name for name, dataset in judged.items() if has_instances(dataset)]

    @property
    def judged(self) -> Mapping[str, SegmentationDataset]:
        """Data sets of the domains; none for a module without any."""
        return {}

    @property
    def _place(self) -> tuple[int, int]:
        return (0, 1) if self.trainer is None else (self.trainer.global_rank, self.trainer.world_size)

    @property
    def workers(self) -> int:
        """Loading processes: as given; ``auto`` is `free_workers` on a GPU and none on a CPU, whose cores compute."""
        if self.num_workers != AUTO:
            return self.num_workers
        return self.free_workers if self._device != "cpu" else 0

    @property
    def free_workers(self) -> int:
        """Loading processes that this process has cores for."""
        if self.trainer is None:
            return loading_processes(1)
        environment = getattr(self.trainer.strategy, "cluster_environment", None)
        own_cores = isinstance(environment, SLURMEnvironment)  # a task, with the cores that the job asked for
        return loading_processes(1 if own_cores else self.trainer.num_devices)

    @property
    def _device(self) -> str:
        return "cpu" if self.trainer is None else str(self.trainer.strategy.root_device.type)

    @property
    def _options(self) -> dict[str, Any]:
        return dict(loader_options(self.workers, self.seed, pin_memory=self._device == "cuda"))

    def _evaluation_loader(self, domain: str, dataset: SegmentationDataset, batch_size: int) -> Loader:
        rank, world_size = self._place
        return Loader(
            EvaluationView(dataset, self.protocol_of(domain), domain in self.panoptic_domains),
            batch_sampler=ShardedBatches(len(dataset), batch_size, rank, world_size),
            collate_fn=partial(collate_domain, domain),
            # one epoch each, one domain after the other: workers that stay would only hold memory
            **{**self._options, "persistent_workers": False},
        )


class TrainingModule(EvaluationModule):
    """A module with training data: keyed batches that go on exactly where an interrupted run stopped.

    Args:
        batch_size: the global one, or one for each of several `image_size`.
        image_size: side in pixels of the square images of training; of several each step draws one, or with a batch for
            each every round of steps has each once. A module that does not give it sets `image_size` itself.

    Attributes:
        image_size: the largest.

    Raises:
        UserError: an empty list of sizes, or a list of batches of another length.
    """

    image_size: int

    def __init__(
        self, batch_size: int | list[int], num_workers: Workers, seed: int, repeats: int, protocol: Protocol,
        image_size: int | list[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(num_workers, seed, protocol)
        given = image_size if isinstance(image_size, list) else [] if image_size is None else [image_size]
        if image_size == []:
            raise UserError("image_size: an empty list; give a side in pixels, or several")
        self._drawn = given if len(given) > 1 else []
        if given:
            self.image_size = max(given)
        self.batch_sizes = batch_sizes(batch_size, len(given) or 1)
        self.batch_size = self.batch_sizes[0] if len(self.batch_sizes) == 1 else batch_size
        self.repeats = repeats
        self._resume: dict[str, Any] | None = None
        self.in_workers: Callable[[Batch], Batch] | None = None
        """What a model wants to be added to every collated batch, such as masks: drawn from its `key` alone, for the
        number of workers changes nothing. Set in the model's `setup`."""

    def _training_view(self) -> View:
        raise NotImplementedError

    def _training_images(self) -> int:
        raise NotImplementedError

    @property
    def sides(self) -> list[int]:
        """Those that images of training may have, in pixels; one that is named twice is drawn twice as often."""
        return self._drawn or [self.image_size]

    @property
    def images_per_step(self) -> float:
        """Of the global batch; of several, their mean, which is that of every round of steps."""
        return sum(self.batch_sizes) / len(self.batch_sizes)

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """Side of the images and number of images of each kind of forward pass on one device."""
        _, world_size = self._place
        parts = world_size * (1 if self.trainer is None else self.trainer.accumulate_grad_batches)
        each = self.batch_sizes if len(self.batch_sizes) > 1 else self.batch_sizes * len(self.sides)
        return [(side, size // parts) for side, size in zip(self.sides, each, strict=True)]

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of one pass over the training images."""
        return steps_per_epoch(self._training_images(), self.batch_sizes, self.repeats)

    def setup(self, stage: str) -> None:
        """Find the user's mistakes before anything is built: missing folders, a batch that cannot be shared."""
        if stage == "fit":
            self._sampler()

    def _sampler(self) -> KeyedBatches:
        rank, world_size = self._place
        trainer = self.trainer
        if trainer is None:
            return KeyedBatches(
                self._training_images(), self.batch_size, seed=self.seed, repeats=self.repeats, sides=self._drawn
            )
        if trainer.overfit_batches > 0:
            raise UserError("trainer.overfit_batches: not supported, use trainer.limit_train_batches")
        accumulate = trainer.accumulate_grad_batches
        for size in self.batch_sizes:
            split_batch(size, world_size, accumulate)
        length, limit = self._training_images(), trainer.limit_train_batches
        whole = steps_per_epoch(length, self.batch_sizes, self.repeats) * accumulate
        return KeyedBatches(
            length,
            self.batch_size,
            seed=self.seed,
            repeats=self.repeats,
            sides=self._drawn,
            rank=rank,
            world_size=world_size,
            accumulate=accumulate,
            limit=limit if isinstance(limit, int) else int(whole * limit),
            # counted when a batch's step is done: neither prefetched batches nor a step cut short are in it
            served=lambda: int(trainer.fit_loop.epoch_loop.batch_progress.total.processed),
        )

    def train_dataloader(self) -> TrainLoader:
        """Endless epochs in keyed order, this process's share."""
        sampler = self._sampler()
        if self._resume is not None:
            sampler.load_state_dict(self._resume)
            self._resume = None
        if self.num_workers == AUTO and self.workers and self.trainer is not None and self.trainer.is_global_zero:
            print(f"data.num_workers: {AUTO} is {self.workers} here, of {cores()} cores", flush=True)
        view = self._training_view()
        on_device = isinstance(view, DistillationView) and view.transform.config.on_device
        collate: Collate | None = collate_plans if on_device else None
        if self.in_workers is not None:
            collate = partial(collate_and_add, collate or default_collate, self.in_workers)
        return TrainLoader(view, batch_sampler=sampler, collate_fn=collate, **self._options)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Leave keys and plans on the host, where they seed and choose without waiting for the device."""
        host = {name: batch[name] for name in ("key", "flip", "operations", "erase") if name in batch}
        rest = {name: value for name, value in batch.items() if name not in host}
        return {**super().transfer_batch_to_device(rest, device, dataloader_idx), **host}

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment on the device what the workers only cropped."""
        if "operations" not in batch:
            return batch
        view = self._training_view()
        assert isinstance(view, DistillationView)
        plan = ("image", "flip", "operations", "erase", "noise")
        return {**{key: value for key, value in batch.items() if key not in plan}, **view.transform.finish(batch)}

    def state_dict(self) -> dict[str, Any]:
        """How far the trainer has come in which epoch, and what the order depends on."""
        fitting = self.trainer is not None and self.trainer.state.fn == "fit"
        return self._sampler().state_dict() if fitting else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Kept until the loader is built, which refuses a state of other data or another batch size."""
        self._resume = state_dict or None


def require_same_classes(datasets: dict[str, SegmentationDataset]) -> None:
    """Refuse data sets whose train ids mean different things.

    Raises:
        UserError: naming two data sets that differ.
    """
    (first, reference), *others = datasets.items()
    for name, dataset in others:
        if dataset.label_space.names != reference.label_space.names:
            raise UserError(
                f"{name}: its classes are {', '.join(dataset.label_space.names)}, those of {first} "
                f"{', '.join(reference.label_space.names)}; map both to one list with class_map"
            )
