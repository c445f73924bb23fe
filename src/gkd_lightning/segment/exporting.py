"""Whether what runs is being written down as a graph for other runtimes."""

from __future__ import annotations

import torch


def is_exporting() -> bool:
    """True under `torch.export` (and with it ONNX), False under `torch.compile`.

    Inside what it compiles, torch 2.11 takes `torch.compiler.is_exporting()` for true.
    """
    return torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()
