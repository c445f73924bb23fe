"""The three data modules. Stage 1a reads a proxy set, 1b and stage 2 the source, evaluation the targets."""

from __future__ import annotations

from typing import Any, Literal, get_args

from gkd_lightning.cores import AUTO
from gkd_lightning.data.augment import DistillAugmentation, DistillTransform, SegmentAugmentation, SegmentTransform
from gkd_lightning.data.benchmarks.published import PublishedSegmentation
from gkd_lightning.data.loading import DistillationView, Loader, SegmentationView, View
from gkd_lightning.data.manifests import combined_manifest, manifest
from gkd_lightning.data.module_base import EvaluationModule, TrainingModule, Workers, require_same_classes
from gkd_lightning.data.protocol import Protocol
from gkd_lightning.data.types import ImageDataset, LabelSpace, SegmentationDataset
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Count, Pixels, Seed

OFFICIAL_DISTILL = DistillAugmentation()
OFFICIAL_SEGMENT = SegmentAugmentation()
NATIVE = Protocol()
Preset = Literal["gkd-official", "full-resolution"]
"""Named evaluation protocols: each knows what to do with each published data set."""


class ProxyDataModule(TrainingModule):
    """Stage 1a: any images, no labels.

    Args:
        dataset: e.g. `ProxyImages`.
        image_size: side of the square crops in pixels. Of several each step draws one, alike on all devices; one that
            is named twice is drawn twice as often.
        batch_size: the global one; it is divided by devices and accumulated batches. A list has one for each of
            `image_size`, and every round of as many steps has each size once.
        num_workers: loading processes per device; their number changes no pixel. ``auto`` is on a GPU what its share of
            the cores allows (at most 16), and none on a CPU.
        seed: of order and augmentation.
        augmentation: the official settings by default.
        repeats: of repeated augmentation (official distributed runs: 3).
    """

    label_space: LabelSpace | None = None
    domain_names: list[str] = []  # noqa: RUF012
    seen: list[str] = []  # noqa: RUF012

    def __init__(
        self,
        dataset: ImageDataset,
        image_size: Pixels | list[Pixels],
        batch_size: Count | list[Count],
        num_workers: Workers = AUTO,
        seed: Seed = 0,
        augmentation: DistillAugmentation = OFFICIAL_DISTILL,
        repeats: Count = 1,
    ) -> None:
        super().__init__(batch_size, num_workers, seed, repeats, NATIVE, image_size)
        self.dataset = dataset
        self._transforms = [DistillTransform(augmentation, side) for side in self.sides]

    def _training_images(self) -> int:
        return len(self.dataset)

    def _training_view(self) -> View:
        return DistillationView(self.dataset, *self._transforms)

    def manifest(self) -> dict[str, Any]:
        """`{"images", "sha256"}` of the images."""
        return manifest(self.dataset, labels=False)


class SourceDataModule(TrainingModule):
    """Stages 1b and 2: the source domain, without or with its labels.

    Args:
        dataset: the labelled source.
        view: `distillation` gives stage 1 batches and never opens a label; `segmentation` gives labelled ones.
        image_size: side of the square crops in pixels; several as for `ProxyDataModule`, by the view `distillation`.
        batch_size: the global one; it is divided by devices and accumulated batches. Several as for `ProxyDataModule`.
        num_workers: loading processes per device, or ``auto``.
        seed: of order and augmentation.
        distill_augmentation: used by the view `distillation`.
        segment_augmentation: used by the view `segmentation`.
        repeats: of repeated augmentation.
        val: validation sets by domain name, never target domains.
        val_batch_size: images per device and validation step; larger than 1 needs equal sizes.
        protocol: of the validation.
    """

    def __init__(
        self,
        dataset: SegmentationDataset,
        view: Literal["distillation", "segmentation"],
        image_size: Pixels | list[Pixels],
        batch_size: Count | list[Count],
        num_workers: Workers = AUTO,
        seed: Seed = 0,
        distill_augmentation: DistillAugmentation = OFFICIAL_DISTILL,
        segment_augmentation: SegmentAugmentation = OFFICIAL_SEGMENT,
        repeats: Count = 1,
        val: dict[str, SegmentationDataset] | None = None,
        val_batch_size: Count = 1,
        protocol: Protocol = NATIVE,
    ) -> None:
        super().__init__(batch_size, num_workers, seed, repeats, protocol, image_size)
        if view == "segmentation" and len(self.sides) > 1:
            raise UserError(f"image_size: {self.sides} is for view: distillation; view: segmentation takes one size")
        self.dataset, self.view = dataset, view
        self.val, self.val_batch_size = val or {}, val_batch_size
        self._distill = [DistillTransform(distill_augmentation, side) for side in self.sides]
        self._segment = SegmentTransform(segment_augmentation, self.image_size)
        require_same_classes({"dataset": dataset, **self.val})
        self.label_space = dataset.label_space
        self.domain_names = list(self.val)
        """In the order of `dataloader_idx`."""
        self.seen = list(self.val)
        """Validation domains count as in-domain: all of them may steer training."""

    def setup(self, stage: str) -> None:
        """Find missing folders, images without a label and a batch that cannot be shared."""
        super().setup(stage)
        for dataset in self.val.values():
            len(dataset)

    @property
    def judged(self) -> dict[str, SegmentationDataset]:
        """Those of the validation."""
        return self.val

    def _training_images(self) -> int:
        return len(self.dataset)

    def _training_view(self) -> View:
        if self.view == "distillation":
            return DistillationView(self.dataset, *self._distill)
        return SegmentationView(self.dataset, self._segment, self.panoptic)

    def val_dataloader(self) -> list[Loader]:
        """One loader per validation domain."""
        return [self._evaluation_loader(name, data, self.val_batch_size) for name, data in self.val.items()]

    def manifest(self) -> dict[str, Any]:
        """`{"images", "sha256"}` of the training images, and of their labels if the view uses them."""
        return manifest(self.dataset, labels=self.view == "segmentation", instances=self.panoptic)


class TargetDataModule(EvaluationModule):
    """Evaluation: labelled domains, each with its own loader.

    Args:
        domains: data sets by domain name; the order is the order of `dataloader_idx`.
        seen: the domains that belong to the source (they are left out of the unseen mean).
        batch_size: images per device and step, since it changes no number; larger than 1 needs equal sizes.
        num_workers: loading processes per device, or ``auto``.
        protocol: how images are resized, for all domains, or the name of a preset, see `preset_protocol`; stored with
            every result.
        protocols: other rules for single domains.
        shapes: whether contours and things of each size are judged, too, which takes some time.

    Raises:
        UserError: no domain, a name in `seen` or `protocols` that is none, domains with different classes, or a preset
            without a rule for a domain.
    """

    def __init__(
        self,
        domains: dict[str, SegmentationDataset],
        seen: list[str] | None = None,
        batch_size: Count = 1,
        num_workers: Workers = AUTO,
        protocol: Protocol | Preset = NATIVE,
        protocols: dict[str, Protocol] | None = None,
        shapes: bool = False,
    ) -> None:
        super().__init__(num_workers, 0, NATIVE if isinstance(protocol, str) else protocol)
        self.batch_size = batch_size
        if not domains:
            raise UserError("domains: none given; name at least one data set to evaluate on")
        self.domains, self.seen, self.shapes = domains, seen or [], shapes
        for key, names in (("seen", self.seen), ("protocols", list(protocols or {}))):
            unknown = [name for name in names if name not in domains]
            if unknown:
                raise UserError(f"{key}: {unknown[0]!r} is none of the domains {', '.join(domains)}")
        require_same_classes(domains)
        self.label_space = next(iter(domains.values())).label_space
        self.domain_names = list(domains)
        """In the order of `dataloader_idx`."""
        self.preset = protocol if isinstance(protocol, str) else None
        own = protocols or {}
        self._protocols = own | {
            name: preset_protocol(self.preset, name, dataset) if self.preset else self.protocol
            for name, dataset in domains.items()
            if name not in own
        }

    @property
    def judged(self) -> dict[str, SegmentationDataset]:
        """All of them."""
        return self.domains

    def protocol_of(self, domain: str) -> Protocol:
        """The domain's own rule."""
        return self._protocols[domain]

    def setup(self, stage: str) -> None:
        """Find missing folders and images without a label before anything is built."""
        for dataset in self.domains.values():
            len(dataset)

    def val_dataloader(self) -> list[Loader]:
        """The same loaders as for the test."""
        return self.test_dataloader()

    def test_dataloader(self) -> list[Loader]:
        """One loader per domain."""
        return [self._evaluation_loader(name, data, self.batch_size) for name, data in self.domains.items()]

    def manifest(self) -> dict[str, Any]:
        """`{"images", "sha256"}` over all domains, and the same for each below `domains`."""
        each = {name: manifest(dataset, labels=True) for name, dataset in self.domains.items()}
        return combined_manifest(each)


def preset_protocol(preset: str, domain: str, dataset: SegmentationDataset) -> Protocol:
    """How `preset` evaluates a data set.

    `gkd-official` fits images into the size of the official configuration (task_learning/configs/_base_/datasets);
    `full-resolution` takes them as they are. Labels keep their own size under both.

    Args:
        preset: one of `Preset`.
        domain: the data set's name in the evaluation, for messages.
        dataset: a published data set.

    Raises:
        UserError: an unknown preset; a data set for which it has no rule.
    """
    if preset not in get_args(Preset):
        raise UserError(f"protocol: no preset {preset!r}; give one of {', '.join(get_args(Preset))} or resize and size")
    if not isinstance(dataset, PublishedSegmentation):
        raise UserError(
            f"protocol: {preset} knows published data sets only, and {domain} is a {type(dataset).__name__}; "
            "give resize and size"
        )
    if preset == "full-resolution":
        if dataset.reduced:
            raise UserError(f"domains.{domain}: is read at reduced size, set half: false for {preset}")
        return Protocol(split=dataset.split_title, id_map=dataset.id_map)
    size = dataset.card.official_size
    if size is None:
        raise UserError(f"protocol: {preset} has no rule for {domain} ({dataset.card.title}); give resize and size")
    return Protocol("fit", size, split=dataset.split_title, id_map=dataset.id_map)
