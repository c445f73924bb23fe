"""Several frozen teachers: what a configuration says about each, and their passes, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gkd_lightning.distill.objective import Objective
from gkd_lightning.distill.standardisation import Rule
from gkd_lightning.encoders import Encoder, EncoderSpec, Frozen, build_encoder
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Count, Pixels, Weight, check_arguments


@dataclass
class TeacherSpec:
    """One of several teachers.

    Attributes:
        encoder: what it is.
        weight: of its objective among all; 0 only logs its terms.
        objective: what is minimised against it; null takes a copy of the model's.
        input_size: side in pixels, or [height, width], that images are resized to for it (bilinear, antialiased, in
            0 to 1 without rounding); null takes them as they come. Its tokens are resized to the student's grid.
        standardise: rule by which its tokens are brought to a common scale, see `matrix_of`; ``none`` leaves them.
        statistics_steps: optimiser steps whose tokens are counted for that, see `Standardisation`; null are 50, or a
            twentieth of a training that has fewer than 1,000.
    """

    encoder: EncoderSpec
    weight: Weight = 1.0
    objective: Objective | None = None
    input_size: Pixels | list[Pixels] | None = None
    standardise: Literal["none"] | Rule = "none"
    statistics_steps: Count | None = None

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self))

    @property
    def plain(self) -> dict[str, Any]:
        """All but the objective, in plain types."""
        values = {name: value for name, value in vars(self).items() if name not in ("encoder", "objective")}
        return {"encoder": asdict(self.encoder), **values}


class Teacher(Frozen[Encoder]):
    """A frozen encoder with an input size of its own.

    Args:
        encoder: is wrapped.
        input_size: (height, width) that images are resized to; None leaves them.
    """

    def __init__(self, encoder: Encoder, input_size: tuple[int, int] | None = None) -> None:
        super().__init__(encoder)
        self.input_size = input_size
        self._host: list[Tensor] | None = None

    @torch.no_grad()
    def forward(self, images: Tensor, *args: Any, **kwargs: Any) -> Any:
        """See `Frozen.forward`; `images` are (B, 3, H, W), uint8 or in [0, 1]."""
        if self.input_size is not None and images.shape[-2:] != self.input_size:
            images = images.float() / 255.0 if images.dtype == torch.uint8 else images
            images = F.interpolate(images, self.input_size, mode="bilinear", antialias=True, align_corners=False)
        with self._present():
            return super().forward(images, *args, **kwargs)

    def leave(self) -> None:
        """Keep the weights on the host from now on, but during a pass."""
        if self._host is not None:
            return
        host = [value.detach().cpu() for value in self.module.parameters()]
        self._host = [value.pin_memory() for value in host] if torch.cuda.is_available() else host
        self._empty()

    def _empty(self) -> None:
        for value in self.module.parameters():
            value.data = value.new_empty(()).expand(value.shape)  # a shape without memory

    @contextmanager
    def _present(self) -> Iterator[None]:
        if self._host is None:
            yield
            return
        for value, host in zip(self.module.parameters(), self._host, strict=True):
            value.data = host.to(value.device, non_blocking=True)
        try:
            yield
        finally:
            self._empty()  # nothing is copied back: frozen weights are on the host as they were


class Teachers(nn.ModuleDict):
    """Frozen teachers by name, in the order of their names, whatever a file's order is.

    Args:
        specs: what each is.
    """

    def __init__(self, specs: Mapping[str, TeacherSpec]) -> None:
        if not specs:
            raise UserError("teachers: names none")
        for name in specs:
            if not name.isidentifier() or hasattr(nn.ModuleDict, name):
                raise UserError(f"teachers.{name}: give it a name of letters, digits and _, such as dinov2")
        super().__init__({name: _built(specs[name], name) for name in sorted(specs)})

    @property
    def encoders(self) -> list[Encoder]:
        """Out of their wrappers."""
        teachers: Iterable[Any] = self.values()
        return [teacher.module for teacher in teachers]

    def require(self, size: tuple[int, int]) -> None:
        """See `Encoder.require`; those that resize take images of any size.

        Raises:
            UserError: naming the teacher.
        """
        teachers: Iterable[tuple[str, Any]] = self.items()
        for name, teacher in teachers:
            try:
                teacher.module.require(teacher.input_size or size)
            except UserError as error:
                raise UserError(f"teachers.{name}: {error}") from error

    def leave(self) -> None:
        """See `Teacher.leave`."""
        teachers: Iterable[Any] = self.values()
        for teacher in teachers:
            teacher.leave()


def _built(spec: TeacherSpec, name: str) -> Teacher:
    where = f"teachers.{name}"
    if spec.standardise == "none" and spec.statistics_steps is not None:
        raise UserError(f"{where}.statistics_steps: {spec.statistics_steps} counts for nothing without standardise")
    encoder = build_encoder(spec.encoder, f"{where}.encoder")
    if spec.input_size is None:
        return Teacher(encoder)
    sides = [spec.input_size] * 2 if isinstance(spec.input_size, int) else spec.input_size
    if len(sides) != 2:
        raise UserError(f"{where}.input_size: {sides}; give one side, or [height, width]")
    size = (sides[0], sides[1])
    try:
        encoder.grid(size)
    except UserError as error:
        raise UserError(f"{where}.input_size: {error}") from error
    return Teacher(encoder, size)
