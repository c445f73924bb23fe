"""The CPU cores that are this process's to use, and how many of them should load data."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

AUTO: Literal["auto"] = "auto"
"""`num_workers` by `loading_processes`."""
SHARE = "GKD_CORES"
"""Environment variable: cores that this process may use at most; `gkd run --jobs` sets it for each of its processes."""
MOST = 16
"""Loading processes of a training process, at most: each takes seconds to start and holds two batches."""


def cores(environment: Mapping[str, str] = os.environ) -> int:
    """Cores of this process: those it is bound to, no more than its container's quota, SLURM's or `SHARE` allow."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limits = [environment.get(name, "") for name in (SHARE, "SLURM_CPUS_PER_TASK")]
    return max(min(bound, _quota() or bound, *(int(limit) for limit in limits if limit.isdigit())), 1)


def loading_processes(processes: int, environment: Mapping[str, str] = os.environ) -> int:
    """Processes that should load for a training process on a GPU: a core each, one core left for itself.

    Args:
        processes: training processes on this machine that share `cores`; 1 where each has cores of its own, as under
            SLURM.
        environment: of this process.
    """
    return min(max(cores(environment) // processes - 1, 1), MOST)


def _quota(group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Cores that a container's control group allows; None without a limit."""
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no such file, or "max"
        return None
