"""What a step does, counted instead of timed: the same on every machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gkd_lightning.flops import flop_counter


class HostReads(TorchDispatchMode):
    """Counts the operations after which the host knows values of a tensor.

    On a GPU each of them waits for all that is queued. Counted on any device: `item()`, `tolist()` of one value,
    `nonzero`, selection by a bool mask, `unique`, and copies from a GPU to the host.
    """

    _READS = frozenset(
        {
            "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::unique_consecutive",
            "aten::_unique2", "aten::unique_dim", "aten::is_nonzero",
        }
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reads: dict[str, int] = {}

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.reads.values())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        if name in self._READS or _masked_index(name, args) or _to_host(name, args, kwargs):
            self.reads[name] = self.reads.get(name, 0) + 1
        return func(*args, **kwargs)


class Operations(TorchDispatchMode):
    """Counts what a step does on the device, views left out; each is at least one kernel on a GPU."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0
        self.casts = 0
        """From one dtype to another."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.total += not func.is_view
        source = args[1] if func._schema.name == "aten::copy_" else args[0] if args else None
        target = args[0].dtype if func._schema.name == "aten::copy_" else kwargs.get("dtype")
        if func._schema.name in ("aten::_to_copy", "aten::copy_") and isinstance(source, torch.Tensor):
            self.casts += target is not None and target != source.dtype
        return func(*args, **kwargs)


def counted(step: Callable[[], int]) -> dict[str, float]:
    """Floating point operations an image and host reads a step (multiplication and addition are two operations)."""
    reads = HostReads()
    with flop_counter() as flops, reads:
        images = step()
    return {"flops_per_image": flops.get_total_flops() / max(1, images), "host_reads": reads.total}


def _masked_index(name: str, args: Any) -> bool:
    if name not in ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"):
        return False
    return any(isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _to_host(name: str, args: Any, kwargs: Any) -> bool:
    if name == "aten::copy_":  # destination, source
        return args[0].device.type == "cpu" and args[1].device.type not in ("cpu", "meta")
    if name != "aten::_to_copy":
        return False
    target = kwargs.get("device")
    return target is not None and torch.device(target).type == "cpu" and args[0].device.type not in ("cpu", "meta")
