"""One device for all of these tests, and the trainings that several of them look at."""

from __future__ import annotations

import os

import pytest

from gkd_lightning.chain import Plan
from tests.gpu.study import Curves, plan, trained


@pytest.fixture(scope="session")
def device() -> str:
    """``cuda``; GKD_GPU_SUITE_DEVICE=cpu tries the tests' own logic at toy sizes where there is no card."""
    return os.environ.get("GKD_GPU_SUITE_DEVICE", "cuda")


@pytest.fixture(scope="session")
def size(device: str) -> str:
    return "small" if device == "cuda" else "tiny"


@pytest.fixture(scope="session")
def full_precision(tmp_path_factory: pytest.TempPathFactory, device: str, size: str) -> tuple[Plan, Curves]:
    """Stages 1a, 1b, 2 and a single-stage method in fp32, uninterrupted, with nothing compiled."""
    made = plan(tmp_path_factory.mktemp("fp32"), device, "32-true", size)
    return made, trained(made)
