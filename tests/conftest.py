"""One thread, no network look-ups, no subnormal arithmetic: what every test relies on."""

import os
import signal
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")

import pytest
import torch

# A suite that a shell starts in the background ignores Ctrl-C, and so would all that its tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    # autograd counts devices at the first backward pass; after an export it would count a placeholder of CUDA too, and
    # then no forked process could go backward
    torch.zeros(1, requires_grad=True).sum().backward()


@pytest.fixture(scope="session")
def empty_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for `GKD_DATA`, one for all tests: a stage that several of them plan is then checked once."""
    return tmp_path_factory.mktemp("data")


LONGEST = (
    "test_shipped_objects.py", "test_docs.py", "test_bad_inputs.py", "test_notebooks.py", "test_export.py",
    "test_wheel.py", "test_distributed.py", "test_learning.py", "test_shipped.py", "test_official_values.py",
    "test_interrupt.py", "test_fitting.py", "test_axes.py", "test_execution.py", "test_jobs.py", "test_site.py",
)  # fmt: skip
"""Begun first: at the end one worker would wait for the other."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    present = torch.cuda.is_available() or os.environ.get("GKD_GPU_SUITE_DEVICE") == "cpu"
    for item in items:
        if item.get_closest_marker("gpu") and not present:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
