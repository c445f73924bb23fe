"""The GPU's kernels of deformable attention against the plain formula; Triton's interpreter runs them on a CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests.segment.sampled import CASES, compared

PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
"""In bfloat16 both read the same rounded values; one rounding of the result is what may differ."""
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")


@pytest.fixture(scope="module")
def interpreted() -> dict[str, list[float]]:
    """Largest differences of output and gradients, by case; the interpreter is chosen before the kernels are read."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join([str(root), *sys.path])}
    found = subprocess.run(
        [sys.executable, "-m", "tests.segment.sampled"], env=environment, cwd=root, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr[-2000:]
    return json.loads(found.stdout.splitlines()[-1])


@needs_triton
@PRECISIONS
@pytest.mark.parametrize("case", CASES)
def test_kernels_compute_the_plain_formula(
    interpreted: dict[str, list[float]], case: str, dtype: torch.dtype, tolerance: float
) -> None:
    """Output, and gradients of values and looks, relative to the largest value of each."""
    found = interpreted[f"{case}, {dtype}"]
    assert len(found) == 3
    assert max(found) < tolerance


@pytest.mark.gpu
@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@PRECISIONS
@pytest.mark.parametrize("case", CASES)
def test_kernels_on_a_gpu(case: str, dtype: torch.dtype, tolerance: float) -> None:
    assert max(compared(case, torch.device("cuda"), dtype)) < tolerance
