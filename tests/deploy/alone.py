"""A snippet of a page in an environment of few packages and without network, and a Hub that is a folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

DOCS = Path(__file__).parents[2] / "docs"
OURS_AND_LIGHTNING = ("gkd_lightning", "lightning", "albumentations", "jsonargparse", "torchmetrics", "cv2", "scipy")

_BEFORE = """
import socket, sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *others):
        return None if name.partition(".")[0] in {hidden!r} else self.finder.find_spec(name, *others)
    def __getattr__(self, name):
        return getattr(self.finder, name)
def refused(*arguments, **options):
    raise OSError("no network here")
sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
"""


def snippets(text: str) -> list[str]:
    """The Python blocks of a page, in their order."""
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def run_alone(code: str, folder: Path, hidden: Sequence[str] = (), hub: Path | None = None) -> dict[str, np.ndarray]:
    """What a snippet leaves in `tokens`, `vector`, `ids`, as arrays.

    Args:
        code: the snippet.
        folder: where it runs.
        hidden: packages that cannot be imported, as if they were not installed.
        hub: cache folder of `published`.
    """
    after = """
import numpy
left = {name: globals()[name] for name in ("tokens", "vector", "ids") if name in globals()}
numpy.savez("left.npz", **{name: getattr(value, "numpy", lambda: value)() for name, value in left.items()})
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    if hub is not None:
        environment["HF_HUB_CACHE"] = str(hub)
    program = _BEFORE.format(hidden=tuple(hidden)) + code + after
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "left.npz") as left:
        return dict(left)


def published(folder: Path, repository: str, cache: Path) -> Path:
    """The cache that a download of an uploaded `folder` leaves."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = cache / f"models--{repository.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs/main").write_text(commit)
    return cache
