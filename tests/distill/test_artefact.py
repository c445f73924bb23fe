"""Heads beside a student: they come back as they were, and only with their own student."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gkd_lightning.distill import (
    HEADS,
    Aligned,
    AlignmentHead,
    Distance,
    Distillation,
    DomainGeneralDistillation,
    Objective,
    Passes,
    Projection,
    QuerySoftDistillation,
    load_heads,
)
from gkd_lightning.encoders import EncoderSpec
from gkd_lightning.errors import UserError

SPEC = EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options={"embed_dim": 32, "depth": 1, "num_heads": 2})
TEACHER = EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options={"embed_dim": 48, "depth": 1, "num_heads": 2})


def exported(folder: Path, **settings: object) -> tuple[DomainGeneralDistillation, Path]:
    module = DomainGeneralDistillation(TEACHER, SPEC, **settings)  # type: ignore[arg-type]
    return module, module.export(folder, {})


def test_heads_come_back(tmp_path: Path) -> None:
    module, student = exported(tmp_path, num_heads=2, attention_scale=0.3)
    heads = load_heads(student)
    assert set(heads) == {"fea", "patch", "token"}
    tokens, keys = torch.randn(2, 16, 32), torch.randn(2, 16, 48)
    for name, head in heads.items():
        assert isinstance(head, QuerySoftDistillation)
        ours, theirs = module.objective.heads[name](tokens, keys), head(tokens, keys)
        assert torch.equal(ours.attention, theirs.attention)
        assert torch.equal(ours.tokens, theirs.tokens)
        assert not any(parameter.requires_grad for parameter in head.parameters())


def test_projections_come_back(tmp_path: Path) -> None:
    _, student = exported(tmp_path, alignment="projection", beta=0.0, gamma=0.0)
    heads = load_heads(student)
    assert list(heads) == ["fea"]
    assert isinstance(heads["fea"], Projection)


def test_heads_of_earlier_versions_come_back(tmp_path: Path) -> None:
    module, student = exported(tmp_path, num_heads=2, attention_scale=0.3)
    path = student.with_name(HEADS)
    with safe_open(path, "pt") as handle:
        metadata = handle.metadata()
    plan = {"head": "qsd", "student_dim": 32, "teacher_dim": 48, "num_heads": 2, "attention_scale": 0.3}
    metadata["heads"] = json.dumps(dict.fromkeys(("fea", "patch", "token"), plan))
    save_file(load_file(path), path, metadata=metadata)
    tokens, keys = torch.randn(2, 16, 32), torch.randn(2, 16, 48)
    ours, theirs = (heads["fea"](tokens, keys).tokens for heads in (module.objective.heads, load_heads(student)))
    assert torch.equal(ours, theirs)


class Square(Distance):
    def per_token(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output - target).square().sum(-1)


class Lift(AlignmentHead):
    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.bias = bias

    def attach(self, student_dim: int, teacher_dim: int) -> None:
        self.layer = torch.nn.Linear(student_dim, teacher_dim, self.bias)

    def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> Aligned:
        return Aligned(self.layer(student))


def test_a_head_of_ones_own_comes_back(tmp_path: Path) -> None:
    module, student = exported(tmp_path, alignment=Lift(bias=False), distance=Square())
    head = load_heads(student)["token"]
    assert isinstance(head, Lift)
    assert torch.equal(head.layer.weight, module.objective.heads["token"].layer.weight)
    assert head.layer.bias is None


def test_a_head_that_no_record_can_hold_is_told_before_the_training() -> None:
    with pytest.raises(UserError, match="alignment: arguments of Lift must be plain values"):
        DomainGeneralDistillation(TEACHER, SPEC, alignment=Lift(bias=torch.ones(1)))  # type: ignore[arg-type]


def test_an_objective_without_heads_writes_the_student_alone(tmp_path: Path) -> None:
    class Together(Objective):
        def forward(self, passes: Passes) -> dict[str, torch.Tensor]:
            return {"together": passes.student.patches.square().mean()}

    plain = Distillation(TEACHER, SPEC, Together()).export(tmp_path / "without", {})
    _, student = exported(tmp_path / "with")
    assert list(load_file(plain)) == list(load_file(student))
    assert not plain.with_name(HEADS).exists()


def test_wrong_pairs_are_refused(tmp_path: Path) -> None:
    _, student = exported(tmp_path)
    _, other = exported(tmp_path / "other")
    (tmp_path / HEADS).write_bytes((tmp_path / "other" / HEADS).read_bytes())
    with pytest.raises(UserError, match="learned with another student"):
        load_heads(student)
    save_file(load_file(student), tmp_path / HEADS)
    with pytest.raises(UserError, match="not the heads of a stage 1"):
        load_heads(student)
    other.with_name(HEADS).unlink()
    with pytest.raises(UserError, match="missing; stage 1 of GKD writes it"):
        load_heads(other)
