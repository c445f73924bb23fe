"""Heads that lift student tokens to the teacher's width: query-based soft distillation, projections, one's own."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor, nn

from gkd_lightning.class_paths import Recorded
from gkd_lightning.errors import UserError
from gkd_lightning.precision import full_precision
from gkd_lightning.ranges import Count, Positive


class Aligned(NamedTuple):
    """A head's answer."""

    tokens: Tensor
    """(B, N, D_teacher) to be compared with the teacher's tokens."""
    attention: Tensor | None = None
    """(B, heads, N, N) soft assignment of student queries to teacher tokens; None without attention."""


class AlignmentHead(Recorded, nn.Module):
    """Student tokens in the teacher's width, to be compared with the teacher's tokens.

    To add a head, derive from this class: take settings in the constructor (plain values, they become the head's
    record), make the layers in `attach`, and write `forward`.
    """

    widths: tuple[int, int]
    """Of the student's and the teacher's tokens, once the head has layers."""
    moves = False
    """Whether `progress` changes it, which stage 1 alone calls."""

    def attached(self, student_dim: int, teacher_dim: int) -> Self:
        """A copy of this head with layers for tokens of these widths."""
        head = copy.deepcopy(self)
        head.widths = (student_dim, teacher_dim)
        head.attach(student_dim, teacher_dim)
        return head

    @abstractmethod
    def attach(self, student_dim: int, teacher_dim: int) -> None:
        """Make the layers; called once."""

    def progress(self, share: float) -> None:
        """Called before every optimiser step of stage 1 with the share of all steps that are done, below 1."""

    @abstractmethod
    def forward(self, student: Tensor, teacher: Tensor) -> Aligned:
        """Align (B, N, D_student) with (B, N, D_teacher), whose position n is the student's."""


class QuerySoftDistillation(AlignmentHead):
    """QSD, the paper's core: student tokens query the teacher's tokens and gather student values.

    ``softmax(q(s) t^T) v(s)`` with q and v = LayerNorm + Linear of the student's tokens s, and the teacher's raw
    tokens t as keys. Source: distillation_models_deit.py:64-91 of the official code.

    Args:
        num_heads: attention heads (the official scripts use one).
        attention_scale: factor on the attention logits. 1.0 is official (no 1/sqrt(d), which saturates the
            softmax of narrow models); ``None`` means 1/sqrt(head dimension).
    """

    def __init__(self, num_heads: Count = 1, attention_scale: Positive | None = 1.0) -> None:
        super().__init__()
        self.num_heads, self.attention_scale = num_heads, attention_scale

    def attach(self, student_dim: int, teacher_dim: int) -> None:
        """Make the projections of queries and values.

        Raises:
            UserError: a number of heads that does not divide the teacher's width.
        """
        if teacher_dim % self.num_heads:
            raise UserError(f"num_heads: the teacher's width {teacher_dim} is not divisible by {self.num_heads} heads")
        scale = self.attention_scale
        self.scale = scale if scale is not None else 1.0 / math.sqrt(teacher_dim // self.num_heads)
        self.proj_q = _projection(student_dim, teacher_dim)
        self.proj_v = _projection(student_dim, teacher_dim)

    def forward(self, student: Tensor, teacher: Tensor) -> Aligned:
        """See `AlignmentHead.forward`; N must agree, for the keys are teacher tokens but the values student tokens."""
        query, value = self._heads(self.proj_q(student)), self._heads(self.proj_v(student))
        key = self._heads(teacher)
        # Unscaled logits reach hundreds: bf16 would round them to whole numbers and fp16 overflow, so fp32.
        with full_precision(student.device.type):
            attention = torch.softmax(self.scaled(query.float()) @ key.float().transpose(-2, -1), dim=-1)
        gathered = attention.to(value.dtype) @ value
        return Aligned(gathered.transpose(1, 2).flatten(2), attention)

    def scaled(self, query: Tensor) -> Tensor:
        """(B, heads, N, D) queries times the scale: on the (N, N) logits it would be one more pass, kept backwards."""
        return query if self.scale == 1.0 else query * self.scale

    @property
    def scales(self) -> list[float]:
        """The factor on the logits, of each head where they differ."""
        return [self.scale]

    def _heads(self, tokens: Tensor) -> Tensor:
        batch, count, _ = tokens.shape
        return tokens.view(batch, count, self.num_heads, -1).transpose(1, 2)


class Projection(AlignmentHead):
    """LayerNorm + Linear, token by token: the head of plain feature distillation (two-stage MSE, Proteus)."""

    def attach(self, student_dim: int, teacher_dim: int) -> None:
        """Make the layers."""
        self.proj: nn.Module = _projection(student_dim, teacher_dim)

    def forward(self, student: Tensor, teacher: Tensor) -> Aligned:
        """See `AlignmentHead.forward`; the teacher is not looked at."""
        return Aligned(self.proj(student))


class LinearProjection(Projection):
    """A Linear without bias, token by token: FitNets' 1x1 convolution."""

    def attach(self, student_dim: int, teacher_dim: int) -> None:
        """Make the layer."""
        self.proj = nn.Linear(student_dim, teacher_dim, bias=False)


Alignment = Literal["qsd", "projection", "linear"]
"""Names of the heads above, in their order."""


def chosen_head(
    alignment: Alignment | AlignmentHead, num_heads: Count = 1, attention_scale: Positive | None = 1.0
) -> AlignmentHead:
    """The head, without layers yet, that settings name; `num_heads` and `attention_scale` are those of ``qsd``.

    Raises:
        UserError: settings of ``qsd`` for another head, or arguments of a head that no record can hold.
    """
    if alignment == "qsd":
        return QuerySoftDistillation(num_heads, attention_scale)
    if num_heads != 1 or attention_scale not in (1.0, None):
        raise UserError(
            f"num_heads={num_heads}, attention_scale={attention_scale}: settings of alignment=qsd; leave them out, or "
            "write alignment as class_path and init_args"
        )
    if isinstance(alignment, AlignmentHead):
        alignment.check_record("alignment")
        return alignment
    kinds: dict[str, type[AlignmentHead]] = {"projection": Projection, "linear": LinearProjection}
    return kinds[alignment]()


def attention_entropy(attention: Tensor) -> Tensor:
    """Mean entropy of attention rows (..., M), divided by log M: 0 = one-hot (saturated), 1 = uniform."""
    attention = attention.float()
    entropy = -(attention * attention.clamp_min(1e-30).log()).sum(-1).mean()
    return entropy / math.log(max(2, attention.shape[-1]))


def _projection(student_dim: int, teacher_dim: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(student_dim), nn.Linear(student_dim, teacher_dim))
