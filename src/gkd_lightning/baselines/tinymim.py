"""TinyMIM: relations between tokens inside one block, without any projector (Ren et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.distill import Objective, Passes
from gkd_lightning.encoders import Encoder, TransformerEncoder
from gkd_lightning.errors import UserError
from gkd_lightning.precision import full_precision
from gkd_lightning.ranges import Count, Weight


def log_relations(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Logarithms of ``softmax(q k^T / sqrt(d))`` and ``softmax(v v^T / sqrt(d))``, each (B, heads, N, N).

    Args:
        qkv: (B, N, 3 D), queries first.
        heads: relation heads of width d = D / heads; they need not be the network's own.
    """
    batch, tokens, triple = qkv.shape
    query, key, value = qkv.float().reshape(batch, tokens, 3, heads, triple // 3 // heads).permute(2, 0, 3, 1, 4)
    scale = query.shape[-1] ** -0.5
    with full_precision(qkv.device.type):  # autocast would round the products back to bf16
        return (query @ key.mT * scale).log_softmax(-1), (value @ value.mT * scale).log_softmax(-1)


def relation_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """``KL(teacher || student)`` of log relations (B, heads, N, N), mean over rows."""
    return F.kl_div(student, teacher, reduction="sum", log_target=True) / student[..., 0].numel()


class TinyMIM(Objective):
    """``qk_weight * KL(R_qk) + vv_weight * KL(R_vv)``, of the student's last block and one of the teacher's.

    Args:
        teacher_block: counted from 1; None takes the last, and the 18th of 24 (the authors' choices).
        qk_weight: of the relations of queries and keys.
        vv_weight: of the relations among values.

    The student keeps its own attention heads; its queries, keys and values are cut into the teacher's number for the
    relations only, where the authors rebuild the block with that number and build it back afterwards. Nothing behind
    those projections is reached: the last block's output and MLP and the final norm stay as they were.

    Source: ``models_tinymim.py`` of the authors' repository.
    """

    def __init__(self, teacher_block: Count | None = None, qk_weight: Weight = 1.0, vv_weight: Weight = 1.0) -> None:
        super().__init__()
        self.teacher_block, self.weights = teacher_block, {"qk": qk_weight, "vv": vv_weight}

    def attach(self, student: Encoder, teacher: Encoder) -> None:
        """Look for the blocks.

        Raises:
            UserError: an encoder that is no plain transformer, a block that is not there, or a width that the teacher's
                number of heads does not divide.
        """
        for who, encoder in (("student", student), ("teacher", teacher)):
            if not isinstance(encoder, TransformerEncoder):
                raise UserError(f"{who}: {encoder.spec.name} has no attention blocks, which TinyMIM compares")
        self.taken = self.teacher_block or (18 if teacher.depth == 24 else teacher.depth)
        if not 1 <= self.taken <= teacher.depth:
            raise UserError(f"teacher_block: {self.taken} must lie between 1 and the teacher's {teacher.depth} blocks")
        self.relation_heads = int(_attention(teacher, self.taken - 1).num_heads)
        if student.embed_dim % self.relation_heads:
            raise UserError(
                f"student: {student.embed_dim} channels cannot be cut into the teacher's {self.relation_heads} heads"
            )

    def forward(self, passes: Passes) -> dict[str, Tensor]:
        """See `Objective.forward`."""
        return self._terms(passes, relation_kl)

    def per_image(self, passes: Passes) -> dict[str, Tensor]:
        """See `Objective.per_image`."""
        return self._terms(passes, relation_kl_per_image)

    def _terms(self, passes: Passes, divergence: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Tensor]:
        student, teacher = passes.student_encoder, passes.teacher_encoder
        with kept_qkv(teacher.module, self.taken - 1) as theirs:
            teacher(passes.images)

        def run() -> Tensor:
            with kept_qkv(student, student.depth - 1) as kept:
                student.tokens(passes.images)
            passes.outputs += kept
            return kept[0]

        ours = passes.once("the last block's queries, keys and values", run)
        if ours.shape[1] != theirs[0].shape[1]:
            raise UserError(f"TinyMIM needs equal tokens, got {ours.shape[1]} and {theirs[0].shape[1]} (registers?)")
        pairs = zip(
            log_relations(ours, self.relation_heads), log_relations(theirs[0], self.relation_heads), strict=True
        )
        return {name: divergence(*pair) for name, pair in zip(self.weights, pairs, strict=True)}


def relation_kl_per_image(student: Tensor, teacher: Tensor) -> Tensor:
    """(B,) of `relation_kl`, whose mean it is."""
    rows = F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
    return rows.flatten(1).mean(1)


def _attention(encoder: Encoder, block: int) -> Any:
    return encoder.model.blocks[block].attn


@contextmanager
def kept_qkv(encoder: Encoder, block: int) -> Iterator[list[Tensor]]:
    """Inside, a pass of the encoder leaves the block's (B, N, 3 D) queries, keys and values in the list."""
    attention = _attention(encoder, block)
    kept: list[Tensor] = []
    parts: list[Tensor] = []

    def whole(module: nn.Module, inputs: Any, output: Tensor) -> None:
        kept.append(output)

    def part(module: nn.Module, inputs: Any, output: Tensor) -> None:
        parts.append(output)
        if len(parts) == 3:
            kept.append(torch.cat(parts, dim=-1))

    if getattr(attention, "qkv", None) is not None:
        handles = [attention.qkv.register_forward_hook(whole)]
    else:  # EVA02 has three projections, and calls them in this order
        handles = [getattr(attention, f"{name}_proj").register_forward_hook(part) for name in "qkv"]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()
