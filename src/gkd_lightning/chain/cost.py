"""What a plan will cost, counted without computing anything: parameters, operations, memory, disk."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonargparse
import lightning as L
import torch

from gkd_lightning.chain.fitting import listed
from gkd_lightning.chain.operation_counts import HalfProducts, MetaOperations, SavedActivations
from gkd_lightning.chain.plan import Plan, PlannedStage
from gkd_lightning.chain.stage import Stage
from gkd_lightning.data import steps_per_epoch
from gkd_lightning.encoders import merged
from gkd_lightning.errors import UserError
from gkd_lightning.recipes import build_dataset, explain, interpolate, told_by_key

if TYPE_CHECKING:
    from gkd_lightning.distill import BatchMasks

_BATCH = 4
"""Images of the counted step; half of them are masked in stage 1, as in any even batch."""
_MIXED = ("bf16-mixed", "16-mixed", "bf16", "16")


@dataclass(frozen=True)
class StageCost:
    """What one training takes.

    Attributes:
        parameters: of the model, teacher included.
        trainable: those that learn.
        flops_per_image: floating point operations of one training image, forward and backward; a multiplication and
            an addition count as two. The matching and the losses of stage 2 are left out (less than a hundredth).
        images: that the training sees; None if nobody knows the size of its data set. Of several batches their mean in
            a step: exact for whole rounds of steps.
        artefact_bytes: size of what it hands on.
        checkpoint_bytes: weights and moments in its `resume.ckpt`, which holds nothing frozen and goes at the end.
        memory_bytes: that training takes on each device, at its precision: weights, gradients, the two moments of
            AdamW, and the activations kept for the backward pass. Left out are the matching and the losses of stage 2,
            buffers that live shorter than a pass, and what PyTorch and the driver need for themselves. Of several sizes
            of images that which takes most.
        images_at_once: of one forward pass on one device, one number for each of several batches.
        image_sizes: sides in pixels of several batches, in their order; empty for a single batch.
        devices: that it asks for, over all nodes; None for all of a machine.
    """

    parameters: int
    trainable: int
    flops_per_image: float
    images: int | None
    artefact_bytes: int
    checkpoint_bytes: int
    memory_bytes: int
    images_at_once: tuple[int, ...]
    image_sizes: tuple[int, ...]
    devices: int | None

    @property
    def flops(self) -> float | None:
        """Of the whole training."""
        return None if self.images is None else self.flops_per_image * self.images

    def __str__(self) -> str:
        images = "images unknown" if self.images is None else f"{self.images:,} images"
        sides = [f" of {side} pixels" for side in self.image_sizes] or [""]
        at_once = listed([f"{images}{side}" for images, side in zip(self.images_at_once, sides, strict=True)], "or")
        return (
            f"{self.parameters / 1e6:,.1f} M parameters, {self.trainable / 1e6:,.1f} M of them learn; "
            f"{_si(self.flops_per_image)}FLOPs an image, {images}; {_si(self.artefact_bytes)}B handed on; "
            f"{_si(self.memory_bytes)}B of memory for {at_once} at once"
        )


def stage_cost(stage: PlannedStage, at_once: tuple[int, ...] | None = None) -> StageCost | None:
    """Count one stage; None if its model has no `dry_step`, or needs a segmenter that is not trained yet.

    `at_once` are the images of one forward pass on one device, if not as its configuration says: one number, or one for
    each of its batches.

    Raises:
        UserError: arguments that the model does not take, or a batch of which no image would be masked.
    """
    heads = {key: parent for key, parent in stage.inputs.items() if not key.endswith(".weights")}
    if any(parent.state() != "done" for parent in heads.values()):  # an architecture known to its artefact alone
        return None
    what = Stage.read(stage.what.config_with({key: str(parent.artefact()) for key, parent in heads.items()}))
    if not what.image_sizes or what.model is None:
        return None
    model = json.dumps(_without_weights(interpolate(what.model)), sort_keys=True)
    each = [_counted(model, size, what.precision in _MIXED) for size in what.image_sizes]
    known = [counts for counts in each if counts is not None]
    if len(known) < len(each):
        return None
    at_once = at_once or what.images_at_once
    several = len(what.batch_sizes) == len(known) > 1
    shares = [size / sum(what.batch_sizes) for size in what.batch_sizes] if several else [1 / len(known)] * len(known)
    each_at_once = list(zip(known, cycle(at_once), strict=False))
    for counts, images in each_at_once:
        if counts.masks is not None:
            counts.masks.require(images)
    saved = max(counts.saved_bytes * images for counts, images in each_at_once)
    counted = known[0]
    moments = 8 * counted.trainable
    weights = 4 * (counted.parameters + counted.trainable) - counted.spared  # and gradients
    return StageCost(
        counted.parameters,
        counted.trainable,
        sum(counts.flops * share for counts, share in zip(known, shares, strict=True)),
        images_of(what),
        artefact_bytes=4 * counted.handed_on,
        checkpoint_bytes=counted.saved_state_bytes + moments,
        memory_bytes=weights + moments + int(saved),
        images_at_once=at_once,
        image_sizes=what.image_sizes if several else (),
        devices=None if what.layout.counted_devices is None else what.layout.counted_devices * what.layout.nodes,
    )


def cost_summary(plans: Iterable[Plan], folder: Path, tflops: float | None) -> list[str]:
    """Lines about all that is left to train: operations, hours, disk, devices.

    Args:
        plans: of one or several recipes; shared stages count once.
        folder: where the artefacts will lie.
        tflops: 10**12 operations a second that one device sustains; None leaves the hours unknown: nobody
            but the user can tell.
    """
    left = {stage.hash: stage for plan in plans for stage in plan.stages if stage.state() != "done"}
    costs = {key: stage_cost(stage) for key, stage in left.items()}
    known = [cost for cost in costs.values() if cost is not None and cost.flops is not None]
    flops = sum(cost.flops or 0.0 for cost in known)
    time = "GPU hours unknown: --tflops N says how many TFLOP/s one device sustains"
    if tflops is not None:
        hours = time_text(flops / (tflops * 1e12))
        time = f"{hours} on one device at {tflops:g} TFLOP/s (as given), without evaluation"
    lines = [f"left to train: {len(left)} stages, {_si(flops)}FLOPs; {time}"]
    if len(known) < len(costs):
        lines.append(
            f"not counted: {len(costs) - len(known)} stages, which start from a segmenter not trained yet, or the size "
            "of whose data nobody knows"
        )
    counted = [cost for cost in costs.values() if cost is not None]
    if counted:
        kept, passing = sum(c.artefact_bytes for c in counted), max(c.checkpoint_bytes for c in counted)
        place = next(path for path in (folder, *folder.resolve().parents) if path.is_dir())
        free = shutil.disk_usage(place).free
        lines.append(
            f"disk: {_si(kept)}B of artefacts, {_si(passing)}B for the largest checkpoint while it trains; "
            f"{_si(free)}B are free" + ("" if free > kept + passing else ": TOO LITTLE")
        )
        lines.append(
            f"memory: {_si(max(c.memory_bytes for c in counted))}B a device for the largest stage: "
            "weights, gradients, optimizer, activations; without stage 2's losses, passing buffers, the libraries' own"
        )
    wanted = {"all" if cost.devices is None else str(cost.devices) for cost in counted}
    gpus = torch.cuda.device_count()
    here = f"{gpus} x {torch.cuda.get_device_name(0)}" if gpus else "no GPU"
    lines.append(f"devices: {' or '.join(sorted(wanted)) or 'any number'} asked for, {here} here")
    return lines


def _si(value: float) -> str:
    """Three digits and the prefix of a unit: ``376 G``."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 999.5:
            return f"{value:.3g} {prefix}"
        value /= 1000
    return f"{value:,.3g} E" if value < 999.5 else f"{value:,.0f} E"


def time_text(seconds: float) -> str:
    """Two digits and a unit: ``2.0 hours``."""
    if seconds < 60:
        return "less than a minute"
    if seconds < 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:,.1f} hours" if seconds < 36000 else f"{seconds / 3600:,.0f} hours"


def _without_weights(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: None if key == "weights" else _without_weights(inner) for key, inner in value.items()}
    return [_without_weights(inner) for inner in value] if isinstance(value, list) else value


class _Counts(NamedTuple):
    """Parameters, those that learn, those handed on; bytes of the weights in a checkpoint, where nothing frozen is;
    operations and bytes kept for the backward pass of an image; bytes that bf16, and teachers off the device, save in
    the weights; how masks are drawn, if there are any."""

    parameters: int
    trainable: int
    handed_on: int
    saved_state_bytes: int
    flops: float
    saved_bytes: float
    spared: int
    masks: BatchMasks | None


@cache
def _counted(model_config: str, size: int, mixed: bool) -> _Counts | None:
    """Build the model without values and take its `dry_step`; None if it has none."""
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=L.LightningModule)
    try:
        with torch.device("meta"), MetaOperations():  # the step that is counted is the real one, and takes no time
            config = parser.parse_object({"model": json.loads(model_config)})
            with told_by_key(config.as_dict(), {}):
                model = parser.instantiate(config)["model"]
    except argparse.ArgumentError as error:
        raise UserError(explain(str(error), {"model": L.LightningModule})) from error
    if not hasattr(model, "dry_step"):
        return None
    from gkd_lightning.distill import Distillation

    model.to("meta")  # some constructors in the libraries do not ask for the default device
    parameters = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    handed_on = getattr(model, "segmenter", None) or getattr(model, "student", None) or model.encoder
    images = torch.empty(_BATCH, 3, size, size, dtype=torch.uint8, device="meta")
    with MetaOperations() as operations:
        saved = SavedActivations([*model.parameters(), *model.buffers()])
        with saved, HalfProducts(saved) if mixed else nullcontext():
            loss = model.dry_step(images)
        loss.backward()
    passing = getattr(handed_on, "link", None)  # its queries are handed on in the place of the head's own
    exported = sum(parameter.numel() for parameter in merged(handed_on).parameters())
    exported -= 0 if passing is None else sum(parameter.numel() for parameter in passing.parameters())
    teachers = model.frozen_encoders if isinstance(model, Distillation) else []
    sizes = [sum(parameter.numel() for parameter in teacher.parameters()) for teacher in teachers]
    spared = 2 * sum(sizes) - 2 * trainable if mixed else 0  # autocast keeps bf16 copies of what learns
    if getattr(model.hparams, "offload", None) is not None:
        spared += (2 if mixed else 4) * (sum(sizes) - max(sizes))
    masks = model.masks((size, size)) if isinstance(model, Distillation) else None
    state = sum(value.nbytes for value in model.state_dict().values())
    flops, kept = operations.flops / _BATCH, saved.bytes / _BATCH
    return _Counts(parameters, trainable, exported, state, flops, kept, spared, masks)


def images_of(stage: Stage) -> int | None:
    """Images that a stage's training will see; None if nobody knows the size of its data set."""
    batch, limit = stage.images_per_step, stage.limit
    if stage.max_steps is not None:
        return round(stage.max_steps * batch)
    if stage.max_epochs is None:
        return None
    if isinstance(limit, int):
        return round(stage.max_epochs * limit * batch)
    length = training_images(stage)
    if length is None:
        return None
    steps = steps_per_epoch(length, stage.batch_sizes or 1, stage.repeats)
    return round(stage.max_epochs * int(steps * (1.0 if limit is None else limit)) * batch)


def training_images(stage: Stage) -> int | None:
    """Images of a stage's training data; None if nobody knows."""
    if "dataset" not in stage.datasets:
        return None
    try:
        return _length(build_dataset("data", "dataset", interpolate(stage.datasets["dataset"])))
    except UserError:  # it does not know where to look: no root, no GKD_DATA
        return None


def _length(dataset: Any) -> int | None:
    """Images that are there; of a published set that is not there, as many as were published."""
    try:
        return len(dataset)
    except UserError:
        inner = [_length(each) for each in getattr(dataset, "datasets", ())]
        if inner:
            repeats = getattr(dataset, "repeats", [1] * len(inner))
            lengths = [(length or 0) * times for length, times in zip(inner, repeats, strict=True)]
            return None if None in inner else sum(lengths)
        expected: int | None = getattr(dataset, "expected", None)
        return expected
