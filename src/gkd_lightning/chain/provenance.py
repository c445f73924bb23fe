"""Where a result comes from: code, libraries, machine, inputs."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gkd_lightning import __version__
from gkd_lightning.chain.identity import named_file
from gkd_lightning.files import asset, file_sha256

_LIBRARIES = ("torch", "torchvision", "lightning", "timm", "transformers", "albumentations", "numpy")


@functools.cache
def git_commit() -> str | None:
    """Commit of the checkout that the package runs from, with ``+changes`` if files differ; None in a wheel."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return f"{commit}+changes" if _git(root, "status", "--porcelain", "--", "src", "configs") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python, this package and the libraries that decide numbers."""
    found = {"python": platform.python_version(), "gkd_lightning": __version__}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def input_files(config: Mapping[str, Any], key: str = "") -> dict[str, str]:
    """Dotted key -> sha256 of every file that a configuration names."""
    found: dict[str, str] = {}
    for name, value in config.items():
        dotted = f"{key}.{name}" if key else str(name)
        if isinstance(value, Mapping):
            found |= input_files(value, dotted)
        elif isinstance(value, str) and value.startswith("asset:"):
            found[dotted] = file_sha256(asset(value.removeprefix("asset:") + ".safetensors"))
        elif isinstance(value, str) and (named := named_file(value)) is not None:
            found[dotted] = file_sha256(named)
    return found
