"""Fixtures made by the official code, and a record of which of their tensors were really used.

`manifest.json` says of every stored tensor whether it is an input or expected; `test_zz_every_tensor.py` fails for an
expected one that no test compared, and for an input that none used.
"""

from __future__ import annotations

import atexit
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

FIXTURES = Path(__file__).parent / "fixtures"
used_inputs: set[tuple[str, str]] = set()
compared: dict[tuple[str, str], float] = {}
json_read: set[str] = set()
RECORD = "GKD_GOLDEN_RECORD"
"""Environment variable: where a process writes down what its tests used and compared."""


def _write_record() -> None:
    seen = {"inputs": sorted(used_inputs), "compared": sorted(compared), "json": sorted(json_read)}
    Path(os.environ[RECORD]).write_text(json.dumps(seen))


if RECORD in os.environ:
    atexit.register(_write_record)


class Golden:
    """One `.safetensors` fixture, read lazily."""

    def __init__(self, name: str) -> None:
        self.name = name
        with safe_open(FIXTURES / f"{name}.safetensors", "pt") as handle:
            self._tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118

    def keys(self, prefix: str = "") -> list[str]:
        return [key for key in self._tensors if key.startswith(prefix)]

    def input(self, key: str) -> torch.Tensor:
        used_inputs.add((self.name, key))
        return self._tensors[key].clone()

    def largest(self, key: str) -> float:
        """The largest magnitude of a tensor that is going to be compared."""
        return float(self._tensors[key].abs().max())

    def exactly(self, key: str) -> torch.Tensor:
        """An expected tensor of whole numbers, which the caller compares exactly."""
        compared[(self.name, key)] = 0.0
        return self._tensors[key].clone()

    def shape(self, key: str) -> torch.Size:
        """Only the shape, which counts as no use."""
        return self._tensors[key].shape

    def inputs(self, prefix: str) -> dict[str, torch.Tensor]:
        """All tensors below `prefix`, with the prefix removed."""
        return {key[len(prefix) :]: self.input(key) for key in self.keys(prefix)}

    def compare(self, key: str, actual: torch.Tensor, atol: float, rtol: float = 0.0) -> None:
        expected = self._tensors[key]
        actual = actual.detach()
        if expected.shape == (1,) and actual.ndim == 0:  # safetensors stores no scalars
            actual = actual.reshape(1)
        torch.testing.assert_close(
            actual.to(expected.dtype), expected, atol=atol, rtol=rtol, equal_nan=True,
            msg=lambda text: f"{self.name}/{key}: {text}",
        )  # fmt: skip
        compared[(self.name, key)] = atol


def golden_json(name: str) -> Any:
    """A `.json` fixture; the caller compares what it reads."""
    json_read.add(name)
    return json.loads((FIXTURES / name).read_text())
