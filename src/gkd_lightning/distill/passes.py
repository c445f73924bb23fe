"""A batch of stage 1, and the passes of student and teacher over it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gkd_lightning.distill.alignment import Aligned
from gkd_lightning.encoders import Encoder, Frozen, Tokens


class Passes:
    """Every pass is run when it is first asked for, and once.

    Args:
        student_encoder: runs with gradients.
        teacher_encoder: runs without, as ``teacher_encoder(images, blocks)``; several have `parts` each.
        images: (B, 3, H, W) uint8.
        keys: (B,) int64 on the host: whatever is random about a sample is drawn from its key.
        hidden: (M, N) bool, which patch tokens of the first M images are masked; None for an objective that masks none.
    """

    def __init__(
        self,
        student_encoder: Encoder,
        teacher_encoder: Frozen[Encoder],
        images: Tensor,
        keys: Tensor,
        hidden: Tensor | None = None,
    ) -> None:
        self.student_encoder, self.teacher_encoder = student_encoder, teacher_encoder
        self.images, self.keys = images, keys
        self.outputs: list[Tensor] = []
        """What the student has given so far; the log tells every term's gradient there. An objective that runs the
        student itself appends its output."""
        self.aligned: Aligned | None = None
        """The student's patch tokens in the teacher's place, for the log; left by an objective that lifts them."""
        self.parts: dict[str, Passes] = {}
        """For each of several teachers, by name, what its objective was given, see `taught_by`."""
        self._run = _StudentRun(student_encoder, images, hidden, self.outputs)
        self._prepared: Callable[[Tokens], Tokens] | None = None

    def taught_by(
        self, teacher: Frozen[Encoder], name: str, prepared: Callable[[Tokens], Tokens] | None = None
    ) -> Passes:
        """The same batch, before one of several teachers: its tokens, and the student's passes that all share.

        Args:
            teacher: runs when its tokens are first asked for.
            name: what `parts` keeps it under.
            prepared: what is done to its tokens on the student's grid.
        """
        part = copy.copy(self)
        part.teacher_encoder, part.aligned, part.parts, part._prepared = teacher, None, {}, prepared
        self.parts[name] = part
        return part

    def once(self, name: str, run: Callable[[], Tensor]) -> Tensor:
        """What `run` gives, once for all of several teachers: for objectives that run the student themselves.

        Args:
            name: the same for the same result.
            run: appends to `outputs` what it gives of the student.
        """
        if name not in self._run.further:
            self._run.further[name] = run()
        return self._run.further[name]

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the student's patch tokens."""
        return self.student_encoder.grid((self.images.shape[-2], self.images.shape[-1]))

    @cached_property
    def teacher(self) -> Tokens:
        """The teacher's tokens; where its grid is another, its patch map is resized bilinearly to the student's."""
        tokens = resize_tokens(self.teacher_encoder(self.images)[0], self.grid)
        return tokens if self._prepared is None else self._prepared(tokens)

    @property
    def student(self) -> Tokens:
        """The student's tokens of the whole images."""
        return self._run.tokens.whole

    @property
    def hidden(self) -> Tensor:
        """(M, N) bool: True where a token of a masked image is hidden."""
        assert self._run.hidden is not None, "the objective's masking is None"
        return self._run.hidden

    @property
    def masked(self) -> Tensor:
        """(M, N, D) patch tokens of the first M images, with the student's mask token in the place of the hidden."""
        masked = self._run.tokens.masked
        assert masked is not None, "the objective's masking is None"
        return masked

    @property
    def all_masked(self) -> Tensor:
        """(B, N, D): `masked`, then the patch tokens of the images that hide none."""
        others = self._run.tokens.others
        assert others is not None, "the objective's masking is None"
        return torch.cat([self.masked, others])


class _StudentRun:
    """The student's pass over a batch, run when it is first asked for."""

    def __init__(self, encoder: Encoder, images: Tensor, hidden: Tensor | None, outputs: list[Tensor]) -> None:
        self.encoder, self.images, self.hidden, self.outputs = encoder, images, hidden, outputs
        self.further: dict[str, Tensor] = {}

    @cached_property
    def tokens(self) -> _StudentTokens:
        """Only the masked images run twice: the same loss and gradient as the official two full passes, a quarter of
        the work saved. Batch normalisation would mix the images, and stochastic depth or dropout would draw once for
        both views, so a student that has them gets two full passes; the second leaves running statistics alone."""
        images, hidden, run = self.images, self.hidden, self.encoder.tokens
        if hidden is None:
            whole = run(images)
            self.outputs += [whole.cls, whole.patches]
            return _StudentTokens(whole, None, None)
        batch, chosen = len(images), len(hidden)
        nothing = hidden.new_zeros(batch, hidden.shape[1])
        layers = list(self.encoder.modules())
        if any(isinstance(layer, _BatchNorm) or _draws(layer) for layer in layers):
            whole = run(images)
            with _kept_statistics([layer for layer in layers if isinstance(layer, _BatchNorm)]):
                second = run(images, torch.cat([hidden, nothing[chosen:]])).patches
            self.outputs += [whole.cls, whole.patches, second]
            return _StudentTokens(whole, second[:chosen], second[chosen:])
        both = run(torch.cat([images, images[:chosen]]), torch.cat([nothing, hidden]))
        whole, masked = Tokens(both.cls[:batch], both.patches[:batch], both.grid), both.patches[batch:]
        self.outputs += [whole.cls, whole.patches, masked]
        return _StudentTokens(whole, masked, whole.patches[chosen:])


class _StudentTokens(NamedTuple):
    whole: Tokens
    masked: Tensor | None
    others: Tensor | None


def _draws(layer: nn.Module) -> bool:
    rate = layer.drop_prob if isinstance(layer, DropPath) else layer.p if isinstance(layer, nn.Dropout) else 0.0
    return layer.training and bool(rate)


@contextmanager
def _kept_statistics(layers: list[_BatchNorm]) -> Iterator[None]:
    """Inside, batch normalisation in training mode normalises with the batch and does not count it."""
    tracked = [layer.track_running_stats for layer in layers]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, value in zip(layers, tracked, strict=True):
            layer.track_running_stats = value


def resize_tokens(tokens: Tokens, grid: tuple[int, int]) -> Tokens:
    """Bring a patch map to another grid bilinearly; the class token stays."""
    if tokens.grid == grid:
        return tokens
    maps = tokens.patches.transpose(1, 2).reshape(len(tokens.patches), -1, *tokens.grid)
    maps = F.interpolate(maps.float(), size=grid, mode="bilinear", align_corners=False)
    return Tokens(tokens.cls, maps.flatten(2).transpose(1, 2).to(tokens.patches.dtype), grid)
