"""PyTorch's counter of floating point operations, the same in every release."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count


def _attention(query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    return int(sdpa_flop_count(query, key, value))  # of shapes, as all formulas


def _attention_backward(grad: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    return int(sdpa_backward_flop_count(grad, query, key, value))


_CPU_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}
"""What torch 2.11 leaves out of its counter."""


def flop_counter() -> FlopCounterMode:
    """PyTorch's counter, with the same operations whatever its release; a multiplication and an addition are two."""
    return FlopCounterMode(display=False, custom_mapping=_CPU_ATTENTION)
