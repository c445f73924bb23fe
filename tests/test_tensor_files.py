"""Tensors on disk: the same bytes for the same values, nothing that is not finite, nothing that was exchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from gkd_lightning.encoders import EncoderSpec, build_encoder, export_encoder, load_student
from gkd_lightning.errors import UserError
from gkd_lightning.tensor_files import write_tensors

STATE = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([1, 2]), "c": torch.ones(3, dtype=torch.float16)}
METADATA = {name: name * 3 for name in ("zeta", "kind", "grid", "heads", "alpha", "ünder")}
SPEC = EncoderSpec("vit_tiny_patch16_224", None, 32, 8, options={"embed_dim": 16, "depth": 1, "num_heads": 2})


def test_equal_values_are_equal_bytes(tmp_path: Path) -> None:
    digests = {write_tensors(STATE, tmp_path / f"{number}.safetensors", METADATA) for number in range(8)}
    assert len(digests) == 1
    loaded = load_file(tmp_path / "0.safetensors")
    assert set(loaded) == set(STATE)
    assert all(torch.equal(loaded[key], value) and loaded[key].dtype == value.dtype for key, value in STATE.items())
    with safe_open(tmp_path / "0.safetensors", "pt") as handle:
        assert handle.metadata() == {"format": "pt", **METADATA}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_neither_written_nor_read(tmp_path: Path, value: float) -> None:
    state = {**STATE, "d": torch.tensor([0.0, value])}
    path = tmp_path / "w.safetensors"
    with pytest.raises(UserError, match=r"w.safetensors: is not written, for 1 of 4 tensors .*, first d; the training"):
        write_tensors(state, path, {})
    assert not list(tmp_path.iterdir())
    weights = export_encoder(build_encoder(SPEC), tmp_path, stage="made", provenance={})
    damaged = {key: torch.full_like(tensor, value) for key, tensor in load_file(weights).items()}
    for suffix in (".safetensors", ".pth"):
        path = tmp_path / f"damaged{suffix}"
        save_file(damaged, path) if suffix == ".safetensors" else torch.save(damaged, path)
        with pytest.raises(UserError, match=rf"damaged{suffix}: \d+ of \d+ tensors .* every output"):
            build_encoder(EncoderSpec(SPEC.name, str(path), 32, 8, options=SPEC.options))


def test_a_record_and_another_file_are_refused(tmp_path: Path) -> None:
    weights = export_encoder(build_encoder(SPEC), tmp_path / "one", stage="made", provenance={})
    export_encoder(build_encoder(SPEC), tmp_path / "two", stage="made", provenance={})
    load_student(weights)
    weights.write_bytes((tmp_path / "two" / "student.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"its SHA-256 is not the one in student.json"):
        load_student(weights)
    record = weights.with_name("student.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "sha256": None}))
    with pytest.raises(UserError, match="its SHA-256"):
        load_student(weights)
