"""Heads beside a student: they come back as they were, and only with their own student."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gkd_lightning.distill import HEADS, DomainGeneralDistillation, Projection, QuerySoftDistillation, load_heads
from gkd_lightning.distill.base import Distillation
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


def test_the_students_files_are_what_they_are_without_heads(tmp_path: Path) -> None:
    module, student = exported(tmp_path / "with")
    plain = Distillation.export(module, tmp_path / "without", {})
    ours, theirs = load_file(student), load_file(plain)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    records = [json.loads(path.with_name("student.json").read_text()) for path in (student, plain)]
    for record in records:
        record.pop("sha256")  # the order of a safetensors file's metadata is drawn anew for every file
    assert records[0] == records[1]
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
