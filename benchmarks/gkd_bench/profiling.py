"""Where a step's time goes, how many kernels it takes, and how often the host waits for the device."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

_STEPS = 3
_LAUNCHES = ("cudaLaunch", "cuLaunch", "cudaGraphLaunch")
"""How the names of the calls begin with which the host starts kernels; a captured graph is started by one call."""


class Launches(NamedTuple):
    """Of one step on a GPU."""

    calls: float
    """Calls of the host that start kernels."""
    kernels: float
    """Kernels that the device ran, those of captured graphs too."""
    busy: float
    """Milliseconds of the device, copies included."""


def longest(step: Callable[[], int], device: str, rows: int) -> list[dict[str, Any]]:
    """The operations with the largest own time, over three steps.

    Returns:
        For each ``operation``, ``share`` of all own time on the device, ``milliseconds`` and ``calls`` a step.
    """
    profiler = _profiled(step, device)
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


def wake(device: str) -> None:
    """Kineto wants its first profile in the thread that imported torch; later ones may be of any thread."""
    _profiled(lambda: 0, device)


def launched(step: Callable[[], int], device: str) -> Launches:
    """Mean over three steps; nothing is launched on a CPU."""
    events = _profiled(step, device).key_averages()
    on_device = [each for each in events if each.device_type == DeviceType.CUDA and not each.is_user_annotation]
    calls = sum(each.count for each in events if each.key.startswith(_LAUNCHES))
    kernels = sum(each.count for each in on_device if not each.key.startswith(("Memcpy", "Memset")))
    busy = sum(each.self_device_time_total for each in on_device) / 1000
    return Launches(calls / _STEPS, kernels / _STEPS, busy / _STEPS)


def waits(step: Callable[[], int]) -> int:
    """How often a step makes the host wait for the GPU, by CUDA's own account; 0 without one.

    Unlike `HostReads` this knows of copies that wait although they go to the device.
    """
    if not torch.cuda.is_available():
        return 0
    torch.cuda.synchronize()
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return sum("synchronizing CUDA operation" in str(each.message) for each in seen)


def _profiled(step: Callable[[], int], device: str) -> Any:
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device == "cuda" else [])
    with profile(activities=activities) as profiler:
        for _ in range(_STEPS):
            step()
        if device == "cuda":
            torch.cuda.synchronize()
    return profiler
