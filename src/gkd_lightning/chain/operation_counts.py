"""Shapes without values: an operation's cost, and what a step keeps for its backward pass.

On PyTorch's meta device tensors have shapes but no values. What PyTorch does there to find a result's shape is written
in Python for half of the operations and takes up to 15 ms for one; a network asks for the same shapes block after
block. So every answer is remembered: a model is counted in a quarter of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from gkd_lightning.flops import flop_counter

_FORMULAS: Mapping[Any, Callable[..., int]] = flop_counter().flop_registry


class _Shape(NamedTuple):
    """All that a meta tensor is."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    def empty(self) -> Tensor:
        return torch.empty_strided(self.size, self.stride, dtype=self.dtype, device="meta")


class _Answer(NamedTuple):
    """What an operation gives for arguments of certain shapes."""

    outputs: list[Any]
    structure: Any
    flops: int


_ANSWERS: dict[Any, _Answer] = {}


class MetaOperations(TorchDispatchMode):
    """Counts floating point operations on the meta device, each distinct one worked out once in a process.

    Attributes:
        flops: so far; a multiplication and an addition count as two.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Answer from memory where the result is a new tensor, else ask PyTorch."""
        kwargs = kwargs or {}
        if _changes_values_only(func) and isinstance(args[0], Tensor) and args[0].is_meta:
            return args[0]
        if func not in _PLAIN and func.overloadpacket not in _FORMULAS:
            with self:  # an operation that is made of others, as inference mode hands them on
                whole = func.decompose(*args, **kwargs)
            if whole is not NotImplemented:
                return whole
            _PLAIN.add(func)
        key = (func, _key(args), _key(kwargs)) if _gives_new_tensors(func) else None
        if key is None or None in key:
            out = func(*args, **kwargs)
            self.flops += _flops(func, args, kwargs, out)
            return out
        answer = _ANSWERS.get(key)
        if answer is None:
            out = func(*args, **kwargs)
            leaves, structure = tree_flatten(out)
            flops = _flops(func, args, kwargs, out)
            self.flops += flops
            if all(leaf is None or (isinstance(leaf, Tensor) and leaf.is_meta) for leaf in leaves):
                _ANSWERS[key] = _Answer([None if leaf is None else _shape(leaf) for leaf in leaves], structure, flops)
            return out
        self.flops += answer.flops
        return tree_unflatten([None if item is None else item.empty() for item in answer.outputs], answer.structure)


_PLAIN: set[Any] = set()
"""Operations known not to be made of others."""


def _changes_values_only(func: Any) -> bool:
    # By its schema: it writes into its first argument alone and returns it (torch 2.11 has no tag for that).
    schema = func._schema
    written = [argument.alias_info is not None and argument.alias_info.is_write for argument in schema.arguments]
    returned = [value.alias_info is not None and value.alias_info.is_write for value in schema.returns]
    plain = written[:1] == returned == [True] and not any(written[1:]) and torch.Tag.inplace_view not in func.tags
    return plain and func.overloadpacket not in _FORMULAS


def _gives_new_tensors(func: Any) -> bool:
    schema = func._schema
    return not schema.is_mutable and all(value.alias_info is None for value in schema.returns)


def _shape(tensor: Tensor) -> _Shape:
    return _Shape(tuple(tensor.shape), tensor.stride(), tensor.dtype)


def _key(value: Any) -> Any:
    """Equal for arguments that give results of equal shape; None for what cannot be told, such as a real tensor."""
    if isinstance(value, Tensor):
        return _shape(value) if value.is_meta else None
    if isinstance(value, list | tuple):
        parts = tuple(_key(item) for item in value)
        return None if None in parts else parts
    if isinstance(value, dict):
        return _key([part for item in sorted(value.items()) for part in item])
    return (type(value), value)


def _flops(func: Any, args: Any, kwargs: Any, out: Any) -> int:
    formula = _FORMULAS.get(func.overloadpacket)
    return 0 if formula is None else formula(*args, **kwargs, out_val=out)


class SavedActivations(TorchFunctionMode):
    """Sums what autograd keeps between forward and backward pass, each storage once.

    Attention is taken as a fused kernel does it, which keeps its inputs and its output but no attention matrix.

    Args:
        excluded: what is there anyway, such as parameters.
    """

    def __init__(self, excluded: list[Tensor]) -> None:
        super().__init__()
        self._excluded: dict[int, Any] = {}
        for tensor in excluded:
            self.exclude(tensor)
        self._kept: dict[int, Any] = {}
        self._hooks: AbstractContextManager[None] = saved_tensors_hooks(self._keep, _same)

    def exclude(self, tensor: Tensor) -> None:
        """Do not count it."""
        storage = tensor.untyped_storage()
        self._excluded[id(storage)] = storage

    @property
    def bytes(self) -> int:
        """So far."""
        return sum(storage.nbytes() for storage in self._kept.values())

    def __enter__(self) -> Self:
        """Begin."""
        self._hooks.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        """End."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._hooks.__exit__(*error)

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Look at attention from outside."""
        if func is not F.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        with saved_tensors_hooks(_same, _same):
            out = func(*args, **(kwargs or {}))
        if out.requires_grad:
            for tensor in (*args[:3], out):
                self._keep(tensor)
        return out

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in self._excluded:
            self._kept[id(storage)] = storage
        return tensor


class HalfProducts(TorchFunctionMode):
    """Autocast to bf16 for tensors without values, which PyTorch's own leaves alone: products in half the size.

    Normalisation and softmax are taken back to full precision, as on a GPU; all else follows its inputs. A parameter is
    cast once, whatever the number of images, and no activation.

    Args:
        saved: counts the activations.
    """

    def __init__(self, saved: SavedActivations) -> None:
        super().__init__()
        self._saved = saved
        self._cast: dict[int, tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Cast what goes in."""
        kwargs = kwargs or {}
        if func in _PRODUCTS:
            args, kwargs = tree_map(self._half, args), tree_map(self._half, kwargs)
        elif func in _FULL:
            args, kwargs = tree_map(_full, args), tree_map(_full, kwargs)
        return func(*args, **kwargs)

    def _half(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.dtype != torch.float32:
            return value
        if not isinstance(value, torch.nn.Parameter):
            return value.to(torch.bfloat16)
        if id(value) not in self._cast:
            self._cast[id(value)] = value, value.to(torch.bfloat16)
            self._saved.exclude(self._cast[id(value)][1])
        return self._cast[id(value)][1]


_PRODUCTS = {
    F.linear, F.conv2d, F.conv_transpose2d, F.scaled_dot_product_attention, torch.matmul, torch.bmm, torch.einsum,
    torch.baddbmm, torch.addmm, torch.mm, Tensor.matmul, Tensor.__matmul__, Tensor.bmm, Tensor.mm,
}  # fmt: skip
_FULL = {
    F.layer_norm, F.group_norm, F.softmax, F.log_softmax, F.normalize, F.mse_loss, F.l1_loss, F.cosine_similarity,
    torch.softmax, torch.log_softmax, Tensor.softmax, Tensor.log_softmax, torch.cdist, torch.layer_norm,
}  # fmt: skip


def _full(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.bfloat16 else value


def _same(tensor: Tensor) -> Tensor:
    return tensor
