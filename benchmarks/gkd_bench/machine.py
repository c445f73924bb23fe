"""The machine that figures belong to, and how fast it multiplies matrices."""

from __future__ import annotations

import os
import platform
import statistics
import time
from typing import Any

import torch

from gkd_lightning.chain.provenance import git_commit, versions
from gkd_lightning.machine import processor

_DTYPES = (torch.float32, torch.bfloat16)


def describe(device: str) -> dict[str, Any]:
    """What stands beside every table: processor or GPU, cores, threads, memory, versions, commit."""
    model, features = processor()
    found: dict[str, Any] = {
        "device": device,
        "cpu": model,
        "cpu_features": features,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "commit": git_commit(),
    }
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found["gpu"] = properties.name
        found["gpu_memory_gib"] = round(properties.total_memory / 2**30, 1)
        found["cuda"] = torch.version.cuda
    return found


def ceilings(device: str, side: int | None = None) -> dict[str, float]:
    """`matmul_ceiling` by name of the dtype."""
    return {str(dtype).removeprefix("torch."): matmul_ceiling(device, dtype, side) for dtype in _DTYPES}


def matmul_ceiling(device: str, dtype: torch.dtype, side: int | None = None, repeats: int = 5) -> float:
    """Floating point operations a second of one large square matrix product: the best that a step could reach.

    Args:
        device: ``cpu`` or ``cuda``.
        dtype: of the factors.
        side: of the matrices; None for 2048 on a CPU and 8192 on a GPU.
        repeats: products that are timed; the median counts.
    """
    side = side or (8192 if device == "cuda" else 2048)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times = []
    for repeat in range(repeats + 2):
        if device == "cuda":
            torch.cuda.synchronize()
        begun = time.perf_counter()
        left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        if repeat >= 2:
            times.append(time.perf_counter() - begun)
    return float(2 * side**3 / statistics.median(times))
