"""A composed configuration, understood once: what a stage computes, on what it starts, and how it is run."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from gkd_lightning.data import batch_sizes, split_batch
from gkd_lightning.errors import UserError
from gkd_lightning.recipes import Config, arguments, changed, dataset_specs, interpolate, teachers_of

_KEYS = {
    "batch_size": "data.batch_size",
    "image_size": "data.image_size",
    "devices": "trainer.devices",
    "nodes": "trainer.num_nodes",
    "strategy": "trainer.strategy",
    "accumulate": "trainer.accumulate_grad_batches",
    "callbacks": "trainer.callbacks",
    "logger": "trainer.logger",
    "progress_bar": "trainer.enable_progress_bar",
    "validation_batches": "trainer.limit_val_batches",
    "folder": "trainer.default_root_dir",
    "selection": "selection",
    "resume_every": "resume_every",
    "title": "title",
}
"""What `Stage.config_with` may change -> its key in a configuration."""
_LAUNCHERS = ("SLURM_PROCID", "TORCHELASTIC_RUN_ID", "GROUP_RANK", "NODE_RANK", "LSB_JOBID", "KUBERNETES_PORT")
"""Environment variables by which Lightning knows that somebody else starts the processes of other nodes."""


@dataclass(frozen=True)
class Layout:
    """Over what a stage's global batch is spread. Neither its numbers nor its hash depend on it.

    Attributes:
        accelerator: Lightning's name, ``auto`` if nothing is said.
        devices: of each node, as asked: a number, indices, or ``auto`` for all of a machine's.
        nodes: machines.
        accumulate: micro-batches of each device in a step.
        workers: processes that load for each device; None leaves it to the data module.
    """

    accelerator: str
    devices: Any
    nodes: int
    accumulate: int
    workers: int | None

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Self:
        """From a configuration's ``trainer`` and ``data`` sections."""
        trainer, data = arguments(config, "trainer"), arguments(config, "data")
        return cls(
            accelerator=str(trainer.get("accelerator") or "auto"),
            devices=trainer.get("devices", "auto"),
            nodes=_whole(trainer, "num_nodes") or 1,
            accumulate=_whole(trainer, "accumulate_grad_batches") or 1,
            workers=_whole(data, "num_workers"),
        )

    @property
    def counted_devices(self) -> int | None:
        """Devices of each node as far as the configuration tells; None for all of a machine's, or a senseless value."""
        asked = self.devices
        if isinstance(asked, str) and "," in asked:  # indices, such as "0,1" or "0,"
            return len([part for part in asked.split(",") if part.strip()]) or None
        if isinstance(asked, Sequence) and not isinstance(asked, str):
            return len(asked) or None
        count = _whole({"devices": asked}, "devices")
        return count if count is not None and count > 0 else None

    @property
    def devices_here(self) -> int:
        """Devices of each node that a trainer will take on this machine; 1 for a value that Lightning will refuse."""
        if self.counted_devices is not None:
            return self.counted_devices
        unlimited = str(self.devices) in ("auto", "-1", "None") and self.accelerator != "cpu"
        if not unlimited or importlib.util.find_spec("torch") is None:
            return 1
        import torch

        return max(torch.cuda.device_count(), 1)

    @property
    def processes(self) -> int:
        """Processes that train together, over all nodes."""
        return self.devices_here * self.nodes

    def check_launcher(self, launch: str | None = None) -> None:
        """Refuse several nodes that nobody brings together: the first would wait for the others without an end.

        Raises:
            UserError: there are several, and no launcher.
        """
        if self.nodes > 1 and launch is None and not any(name in os.environ for name in _LAUNCHERS):
            raise UserError(
                f"trainer.num_nodes: {self.nodes} machines need somebody who starts the processes on each: --launch "
                "srun or torchrun, or --submit slurm; alone on this machine give 1"
            )


@dataclass(frozen=True)
class Stage:
    """One training.

    A value of the wrong type counts as absent here: `check_config` tells what is wrong with it.

    Attributes:
        config: the composed configuration, for `gkd fit` and for records; ``artefact:<hash>`` stands for a parent's.
        model: `class_path` and `init_args` of its module.
        teachers: specification of each teacher by name; a single one is called ``teacher``.
        datasets: specifications of its data sets by name: ``dataset``, and those of its validation.
        batch_sizes: the global ones, one for each of `image_sizes`; mostly a single one for all, empty if unknown.
        image_sizes: sides in pixels of which each step has one; mostly a single one, empty if unknown.
        repeats: of repeated augmentation.
        max_steps: None where `max_epochs` counts.
        max_epochs: None where `max_steps` counts.
        limit: of an epoch, in micro-batches (whole) or as a share; None for all of it.
        precision: Lightning's name.
        selection: which weights are handed on.
        layout: how it is run.
    """

    config: Config
    model: Mapping[str, Any] | None
    teachers: Mapping[str, Mapping[str, Any]]
    datasets: Mapping[str, Any]
    batch_sizes: tuple[int, ...]
    image_sizes: tuple[int, ...]
    repeats: int
    max_steps: int | None
    max_epochs: int | None
    limit: int | float | None
    precision: str
    selection: Literal["last", "source-val"]
    layout: Layout

    @classmethod
    def read(cls, config: Config) -> Self:
        """From a composed configuration."""
        model, data, trainer = (arguments(config, section) for section in ("model", "data", "trainer"))
        steps, epochs = _whole(trainer, "max_steps"), _whole(trainer, "max_epochs")
        limit = trainer.get("limit_train_batches")
        return cls(
            config=config,
            model=config["model"] if isinstance(config.get("model"), Mapping) else None,
            teachers=teachers_of(model),
            datasets=dataset_specs(config),
            batch_sizes=_all_whole(data, "batch_size"),
            image_sizes=_all_whole(data, "image_size"),
            repeats=_whole(data, "repeats") or 1,
            max_steps=steps if steps is not None and steps > 0 else None,
            max_epochs=epochs if epochs is not None and epochs >= 0 else None,
            limit=limit if isinstance(limit, int | float) else None,
            precision=str(trainer.get("precision")),
            selection=config.get("selection", "last"),
            layout=Layout.read(config),
        )

    @property
    def length(self) -> str:
        """How long it trains, for a message: a number of steps, or ``3 epochs``."""
        return str(self.max_steps) if self.max_steps is not None else f"{self.max_epochs} epochs"

    @property
    def starts_from(self) -> str:
        """Key of the weights that it learns on from: the student's where the model has one, else the encoder's."""
        student = arguments(self.config, "model").get("student")
        return "model.student.weights" if isinstance(student, Mapping) else "model.encoder.weights"

    @property
    def panoptic(self) -> bool:
        """Whether its head learns segments, for which it needs instances."""
        head = arguments(self.config, "model").get("head")
        settings = head.get("init_args", head) if isinstance(head, Mapping) else {}
        return isinstance(settings, Mapping) and settings.get("segments") == "panoptic"

    @property
    def images_per_step(self) -> float:
        """Of all devices; the mean of several batches, which is that of every round of steps."""
        return sum(self.batch_sizes) / len(self.batch_sizes) if self.batch_sizes else 1

    @property
    def images_at_once(self) -> tuple[int, ...]:
        """Images of one forward pass on one device, one number for each of `batch_sizes`."""
        parts = self.layout.processes * self.layout.accumulate
        return tuple(max(-(-size // parts), 1) for size in self.batch_sizes or (1,))

    def check(self) -> None:
        """See to it that it trains at all, and that its batch can be shared, before the stages above it train for days.

        Raises:
            UserError: names the key.
        """
        trainer = arguments(self.config, "trainer")
        for key in ("max_steps", "max_epochs", "limit_train_batches"):
            if isinstance(trainer.get(key), int | float) and trainer[key] == 0:
                raise UserError(f"trainer.{key}: 0 trains nothing; give 1 or more, or leave the stage out")
        several = arguments(self.config, "model").get("teachers")
        for name, spec in several.items() if isinstance(several, Mapping) else ():
            counted = _whole(spec, "statistics_steps") if isinstance(spec, Mapping) else None
            if counted is not None and self.max_steps is not None and counted >= self.max_steps:
                raise UserError(
                    f"model.teachers.{name}.statistics_steps: {counted}, but the training has {self.max_steps}; give "
                    "fewer, or null"
                )
        data = arguments(self.config, "data")
        if len(self.image_sizes) > 1 and data.get("view") == "segmentation":
            sides = list(self.image_sizes)
            raise UserError(f"data.image_size: {sides} is for view: distillation; view: segmentation takes one size")
        if isinstance(data.get("batch_size"), list) and self.image_sizes:
            batch_sizes(list(self.batch_sizes), len(self.image_sizes))
        for size in self.batch_sizes:
            split_batch(size, self.layout.processes, self.layout.accumulate)

    def config_with(self, weights: Mapping[str, str] | None = None, **changes: Any) -> Config:
        """The configuration with other weights to start from, by dotted key, and other values, by a name of `_KEYS`."""
        return changed(self.config, {**(weights or {}), **{_KEYS[name]: value for name, value in changes.items()}})


ALONE = {"devices": 1, "nodes": 1, "strategy": "auto"}
"""Changes that put a stage on one device of this machine."""


def alone(config: Config) -> Config:
    """A configuration on one device of this machine."""
    return changed(config, {_KEYS[name]: value for name, value in ALONE.items()})


def _all_whole(section: Mapping[str, Any], key: str) -> tuple[int, ...]:
    value = section.get(key)
    found = [_whole({key: each}, key) for each in (value if isinstance(value, list) else [value])]
    return () if None in found else tuple(each for each in found if each is not None)


def _whole(section: Mapping[str, Any], key: str) -> int | None:
    value = section.get(key)
    if isinstance(value, str):
        try:
            value = int(interpolate(value, key))
        except (ValueError, UserError):
            return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
