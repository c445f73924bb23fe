"""The processor that a measured number belongs to."""

from __future__ import annotations

import platform
from pathlib import Path

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm", "sve", "bf16")
"""Instruction sets that decide how fast networks are, by Linux's names."""


def processor(information: Path = Path("/proc/cpuinfo")) -> tuple[str, list[str]]:
    """Its model, and those of `FEATURES` that it has; where the system does not tell, its architecture alone."""
    try:
        lines = information.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), []
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    flags = (values.get("flags") or values.get("Features") or "").split()
    return values.get("model name") or platform.machine(), [name for name in FEATURES if name in flags]


def computes_bf16() -> bool:
    """Whether the processor has instructions for bf16; without them it takes several times as long as fp32."""
    return any(name.endswith("bf16") for name in processor()[1])
