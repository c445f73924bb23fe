"""A function of tensors as two CUDA graphs, forwards and backwards: one launch each, however many kernels they hold."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

Function = Callable[..., tuple[Tensor, ...]]

_WARM = 3
"""Passes before the recording: they compile, choose kernels and fill caches, none of which can be recorded."""


class Captured:
    """Calls a function of tensors, and from the first call with a gradient on a GPU repeats what was recorded then.

    What is recorded are kernels and addresses: the function must neither look at values nor draw random numbers. What
    the recording does not fit is computed as ever: other shapes, no gradient, a dispatch mode or the detection of
    anomalies, which want to see every operation.
    """

    def __init__(self) -> None:
        self._recording: _Recording | None = None

    def __reduce__(self) -> tuple[type[Captured], tuple[()]]:
        return Captured, ()  # a copy of the model has tensors of its own and records them itself

    def __call__(
        self, function: Function, arguments: Sequence[Tensor], parameters: Sequence[Tensor], key: Hashable = None
    ) -> tuple[Tensor, ...]:
        """What `function` makes of its arguments.

        Args:
            function: called with `arguments`; every one of its outputs depends on something that wants a gradient.
            arguments: tensors of which the recording keeps copies.
            parameters: what else the function reads and has a gradient for, where it is.
            key: what else decides what it does.

        Returns:
            Its outputs. They are overwritten by the next call.
        """
        on_gpu = all(each.device.type == "cuda" for each in arguments)
        watched = is_in_torch_dispatch_mode() or torch.is_anomaly_enabled()
        if not on_gpu or watched or not torch.is_grad_enabled():
            return function(*arguments)
        form = (key, tuple((each.shape, each.dtype, each.requires_grad) for each in arguments))
        places = [each.data_ptr() for each in parameters]
        if self._recording is None or self._recording.places != places:
            self._recording = None  # its memory first
            self._recording = _Recording(function, arguments, parameters, form, places)
        elif self._recording.form != form:
            return function(*arguments)
        outputs: tuple[Tensor, ...] = _Repeated.apply(self._recording, *arguments, *parameters)
        return outputs


class _Recording:
    """Both graphs, and the tensors that they read and write."""

    def __init__(
        self,
        function: Function,
        arguments: Sequence[Tensor],
        parameters: Sequence[Tensor],
        form: Hashable,
        places: list[int],
    ) -> None:
        self.form, self.places = form, places
        self.function = function  # and with it every constant that the graphs read
        self.arguments = [each.detach().clone().requires_grad_(each.requires_grad) for each in arguments]
        self.turn = 0
        wanted = [*(each for each in self.arguments if each.requires_grad), *parameters]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM):
                outputs = function(*self.arguments)
                torch.autograd.grad(outputs, wanted, [torch.zeros_like(each) for each in outputs])
        del outputs
        torch.cuda.current_stream().wait_stream(side)
        # Other threads, as the one that pins batches, go on calling CUDA meanwhile.
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.forward, capture_error_mode="thread_local"):
            outputs = function(*self.arguments)
        self.output_gradients = [torch.empty_like(each) for each in outputs]
        with torch.cuda.graph(self.backward, pool=self.forward.pool(), capture_error_mode="thread_local"):
            self.gradients = torch.autograd.grad(outputs, wanted, self.output_gradients)
        self.outputs = [each.detach() for each in outputs]

    def fresh_gradients(self) -> list[Tensor]:
        """Copies: what is returned may become a parameter's `grad`, to which the next pass adds."""
        together = torch.empty(sum(each.numel() for each in self.gradients), device=self.gradients[0].device)
        parts = together.split([each.numel() for each in self.gradients])
        copies = [part.view(each.shape) for part, each in zip(parts, self.gradients, strict=True)]
        torch._foreach_copy_(copies, list(self.gradients))
        return copies


class _Repeated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, recording: _Recording, *tensors: Tensor) -> tuple[Tensor, ...]:
        for own, given in zip(recording.arguments, tensors, strict=False):  # parameters come after the arguments
            own.copy_(given)
        recording.forward.replay()
        recording.turn += 1
        ctx.recording, ctx.turn = recording, recording.turn
        return tuple(each.view_as(each) for each in recording.outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        recording: _Recording = ctx.recording
        if ctx.turn != recording.turn:
            raise RuntimeError(
                "a captured pass can be differentiated once, before the next one begins; "
                "leave capturing out with model.compile: false"
            )
        recording.turn += 1
        for own, given in zip(recording.output_gradients, gradients, strict=True):
            own.copy_(given)
        recording.backward.replay()
        found = iter(recording.fresh_gradients())
        return None, *(next(found) if needed else None for needed in ctx.needs_input_grad[1:])
