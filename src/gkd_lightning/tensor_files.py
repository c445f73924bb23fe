"""Tensors in a safetensors file: finite, atomic, and equal bytes for equal values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from gkd_lightning.errors import UserError
from gkd_lightning.files import atomic_write, file_sha256


def write_tensors(state: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str]) -> str:
    """Write `path` atomically.

    Args:
        state: tensors of any device by name.
        path: the file; its folder is made.
        metadata: texts by key, beside ``format``.

    Returns:
        The file's SHA-256.

    Raises:
        UserError: values are not finite; nothing is written then.
    """
    require_finite(state, f"{path}: is not written, for", "the training diverged: lower model.lr, or clip gradients")
    plain = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    with atomic_write(path) as temporary:
        save_file(plain, temporary, metadata={"format": "pt", **metadata})
        _sort_metadata(temporary)
    return file_sha256(path)


def require_finite(state: Mapping[str, torch.Tensor], where: str, advice: str) -> None:
    """Refuse NaN and infinity.

    Args:
        state: tensors by name.
        where: begins the message.
        advice: ends it.

    Raises:
        UserError: names the first tensor.
    """
    wrong = [key for key, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if wrong:
        raise UserError(
            f"{where} {len(wrong)} of {len(state)} tensors hold NaN or infinity, first {wrong[0]}; {advice}"
        )


def require_recorded(weights: Path, record: Mapping[str, Any], record_path: Path) -> None:
    """See to it that a weights file is the one that its record was written with.

    Raises:
        UserError: its bytes are others.
    """
    if record.get("sha256") != file_sha256(weights):
        raise UserError(
            f"{weights}: its SHA-256 is not the one in {record_path.name}: the file was damaged or exchanged after it "
            "was written; copy both files again, or make it again"
        )


def _sort_metadata(path: Path) -> None:
    """Put the header's metadata in order: the library writes them in another one each time."""
    with path.open("r+b") as handle:
        length = int.from_bytes(handle.read(8), "little")
        header = json.loads(handle.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        handle.seek(8)
        handle.write(text.ljust(length))
