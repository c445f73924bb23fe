"""Heads that lift student tokens to the teacher's width: query-based soft distillation and a plain projection."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn

from gkd_lightning.errors import UserError
from gkd_lightning.precision import full_precision


class Aligned(NamedTuple):
    """A head's answer."""

    tokens: torch.Tensor
    """(B, N, D_teacher) to be compared with the teacher's tokens."""
    attention: torch.Tensor | None
    """(B, heads, N, N) soft assignment of student queries to teacher tokens; None without attention."""


def _projection(student_dim: int, teacher_dim: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(student_dim), nn.Linear(student_dim, teacher_dim))


class QuerySoftDistillation(nn.Module):
    """QSD, the paper's core: student tokens query the teacher's tokens and gather student values.

    ``softmax(q(s) t^T) v(s)`` with q and v = LayerNorm + Linear of the student's tokens s, and the teacher's raw
    tokens t as keys. Source: distillation_models_deit.py:64-91 of the official code.

    Args:
        student_dim: width of the student's tokens.
        teacher_dim: width of the teacher's tokens.
        num_heads: attention heads (the official scripts use one).
        attention_scale: factor on the attention logits. 1.0 is official (no 1/sqrt(d), which saturates the
            softmax of narrow models); ``None`` means 1/sqrt(head dimension).

    Raises:
        UserError: a number of heads that does not divide the teacher's width.
    """

    def __init__(
        self, student_dim: int, teacher_dim: int, num_heads: int = 1, attention_scale: float | None = 1.0
    ) -> None:
        super().__init__()
        if num_heads < 1 or teacher_dim % num_heads:
            raise UserError(f"num_heads: the teacher's width {teacher_dim} is not divisible by {num_heads} heads")
        self.num_heads = num_heads
        self.scale = attention_scale if attention_scale is not None else 1.0 / math.sqrt(teacher_dim // num_heads)
        self.proj_q = _projection(student_dim, teacher_dim)
        self.proj_v = _projection(student_dim, teacher_dim)

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> Aligned:
        """Align (B, N, D_student) with (B, N, D_teacher).

        N must agree: the keys are teacher tokens but the values are student tokens.
        """
        query, value = self._heads(self.proj_q(student)), self._heads(self.proj_v(student))
        key = self._heads(teacher)
        # Unscaled logits reach hundreds: bf16 would round them to whole numbers and fp16 overflow, so fp32.
        with full_precision(student.device.type):
            # The scale belongs to the (N, D) query: on the (N, N) logits it would be one more pass, kept backwards.
            query = query.float() if self.scale == 1.0 else query.float() * self.scale
            attention = torch.softmax(query @ key.float().transpose(-2, -1), dim=-1)
        gathered = attention.to(value.dtype) @ value
        return Aligned(gathered.transpose(1, 2).flatten(2), attention)

    def _heads(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, count, _ = tokens.shape
        return tokens.view(batch, count, self.num_heads, -1).transpose(1, 2)


class Projection(nn.Module):
    """LayerNorm + Linear, token by token: the head of plain feature distillation (two-stage MSE, Proteus)."""

    def __init__(self, student_dim: int, teacher_dim: int) -> None:
        super().__init__()
        self.proj = _projection(student_dim, teacher_dim)

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> Aligned:
        """Project (B, N, D_student) to (B, N, D_teacher); the teacher is not looked at."""
        return Aligned(self.proj(student), None)


def attention_entropy(attention: torch.Tensor) -> torch.Tensor:
    """Mean entropy of attention rows (..., M), divided by log M: 0 = one-hot (saturated), 1 = uniform."""
    attention = attention.float()
    entropy = -(attention * attention.clamp_min(1e-30).log()).sum(-1).mean()
    return entropy / math.log(max(2, attention.shape[-1]))
