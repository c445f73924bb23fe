"""Named evaluation protocols: each knows what to do with each published data set."""

from __future__ import annotations

from typing import Literal, get_args

from gkd_lightning.data.benchmarks.published import PublishedSegmentation
from gkd_lightning.data.protocol import Protocol
from gkd_lightning.data.types import SegmentationDataset
from gkd_lightning.errors import UserError

Preset = Literal["gkd-official", "full-resolution"]


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
