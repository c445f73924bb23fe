"""Milliseconds and memory of a checkpoint on a card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gkd_lightning.deploy import Candidate, measure
from tests.chain.artefacts import segmenter

pytestmark = pytest.mark.gpu


def test_a_checkpoint_is_timed_where_it_computes(device: str, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    ((found,),) = measure([Candidate.at(segmenter(tmp_path))], images, device=device, count=5)
    assert found.device == device
    assert 0 < found.median_ms <= found.p95_ms
    assert found.peak_memory_mb < (500 if device == "cuda" else 4000)  # what is allocated, without the libraries
