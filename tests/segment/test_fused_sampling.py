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
@pytest.mark.parametrize("case", CASES)
def test_kernels_compute_the_plain_formula(interpreted: dict[str, list[float]], case: str) -> None:
    """Output, and gradients of values and looks, relative to the largest value of each."""
    assert len(interpreted[case]) == 3
    assert max(interpreted[case]) < 1e-5


@pytest.mark.gpu
@needs_triton
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("case", CASES)
def test_kernels_on_a_gpu(case: str, dtype: torch.dtype, tolerance: float) -> None:
    """In bfloat16 both read the same rounded values; one rounding of the result is what may differ."""
    assert max(compared(case, torch.device("cuda"), dtype)) < tolerance
