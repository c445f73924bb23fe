"""Where a step's time goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

_STEPS = 3


def longest(step: Callable[[], int], device: str, rows: int) -> list[dict[str, Any]]:
    """The operations with the largest own time, over three steps.

    Returns:
        For each ``operation``, ``share`` of all own time on the device, ``milliseconds`` and ``calls`` a step.
    """
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    with profile(activities=activities) as profiler:
        for _ in range(_STEPS):
            step()
        if device == "cuda":
            torch.cuda.synchronize()
    own = "self_device_time_total" if device == "cuda" else "self_cpu_time_total"
    events = [(event.key, getattr(event, own), event.count) for event in profiler.key_averages()]
    total = sum(microseconds for _, microseconds, _ in events) or 1.0
    events.sort(key=lambda event: event[1], reverse=True)
    return [
        {
            "operation": name,
            "share": round(microseconds / total, 4),
            "milliseconds": round(microseconds / 1000 / _STEPS, 3),
            "calls": round(count / _STEPS, 1),
        }
        for name, microseconds, count in events[:rows]
    ]
