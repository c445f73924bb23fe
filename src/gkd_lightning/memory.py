"""The highest memory of this process."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import sys
from pathlib import Path
from typing import Any


def _cuda() -> Any:
    """PyTorch's CUDA where this process uses it; memory is measured without importing PyTorch."""
    torch: Any = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    return torch.cuda if used else None


def peak_memory() -> int:
    """Bytes: the GPU's peak allocation where there is one, else the process's peak resident size."""
    if cuda := _cuda():
        return int(cuda.max_memory_allocated())
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak_memory() -> None:
    """Start the peak anew, so that a stage is not charged for the one before it in the same process."""
    if cuda := _cuda():
        cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: sets VmHWM back to the present size


def release_memory() -> None:
    """Give back what nothing refers to any more: modules in cycles, the GPU's cache, the C library's free lists."""
    gc.collect()
    if cuda := _cuda():
        cuda.empty_cache()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def resident_memory() -> int:
    """Bytes of memory that this process takes now; its peak where the system does not tell."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory()
