"""What trades time, memory and start-up of encoders: rounded frozen weights, compilation, recomputed activations."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gkd_lightning.encoders.encoder import Encoder, TransformerEncoder
from gkd_lightning.encoders.low_rank import LowRankLinear
from gkd_lightning.errors import UserError

if TYPE_CHECKING:
    import lightning as L

_FULL = "_full_precision"
"""Where a layer keeps what its weights were before they were rounded."""


def prepare_encoders(
    *frozen: Encoder,
    learning: Encoder | None = None,
    device: torch.device,
    bf16: bool,
    compile: bool | None,
    written: bool = False,
) -> None:
    """Round frozen encoders' weights in a run in bf16, and compile all encoders' blocks, in place.

    Args:
        frozen: see `hold_in_bf16`.
        learning: the encoder that learns.
        device: where they run.
        bf16: whether the run is in bf16.
        compile: null: on a GPU that has triton and where there are blocks to compile.
        written: whether frozen encoders are written into an artefact, see `hold_in_bf16`.

    Raises:
        UserError: `compile` is true and cannot be.
    """
    for encoder in frozen if bf16 else ():
        hold_in_bf16(encoder, written)
    compile_blocks(*frozen, *(() if learning is None else (learning,)), device=device, wanted=compile)


def hold_in_bf16(network: nn.Module, written: bool = False) -> None:
    """Keep linear layers and convolutions that do not learn in bf16, so that autocast need not cast their weights.

    The numbers are those of autocast with fp32 weights, bit for bit: norms, position embedding, LayerScale and, with
    them, the residual stream stay in fp32. (With all of DINOv2-S in bf16 its tokens are three times as far from fp32.)

    Args:
        network: called under autocast from now on.
        written: its state dict goes on giving the fp32 weights, which wait on the host; `release` puts them back.
    """
    for layer in _rounded(network):
        full = {name: value.detach() for name, value in layer.named_parameters(recurse=False)}
        for parameter in layer.parameters(recurse=False):
            parameter.data = parameter.data.to(torch.bfloat16)
        if written:
            host = {name: value.cpu() for name, value in full.items()}
            layer.__dict__[_FULL] = host, layer.register_state_dict_post_hook(_give_full)


def release(network: nn.Module) -> None:
    """Put back what `hold_in_bf16` has kept."""
    for layer in network.modules():
        if _FULL in layer.__dict__:
            full, hook = layer.__dict__.pop(_FULL)
            hook.remove()
            for name, value in full.items():
                parameter = layer.get_parameter(name)
                parameter.data = value.to(parameter.device)


def checkpoint_activations(encoder: Encoder) -> None:
    """Keep only the input of every block for the backward pass, which computes the rest again.

    A third more work in the encoder for less memory; loss and gradients stay the same.

    Raises:
        UserError: it is no plain transformer.
    """
    if not isinstance(encoder, TransformerEncoder):
        raise UserError(f"activation_checkpointing: {encoder.spec.name} is no plain transformer; set it to false")
    encoder.model.set_grad_checkpointing(True)


def compiles(device: torch.device, wanted: bool | None) -> bool:
    """Whether `torch.compile` is to be used, and then room for what is compiled from now on.

    Compilations of earlier stages of this process are forgotten: torch allows eight and then goes on without.

    Args:
        device: where the model runs.
        wanted: null: on a GPU that has triton.

    Raises:
        UserError: it is wanted, and there is nothing to compile with on this machine.
    """
    if wanted is None:
        wanted = device.type == "cuda" and importlib.util.find_spec("triton") is not None
    if not wanted:
        return False
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise UserError("compile: needs the package triton on a GPU; install it or set compile to false")
    if device.type == "cpu" and not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++")):
        raise UserError("compile: needs a C++ compiler (g++ or clang++) on a CPU; install one or set compile to false")
    torch.compiler.reset()
    return True


def compile_blocks(*encoders: Encoder, device: torch.device, wanted: bool | None = True) -> None:
    """Let `torch.compile` fuse the blocks of the plain transformers among `encoders`, in place, at their first use.

    Blocks of a shape share one compilation, and no parameter changes its name.

    Args:
        encoders: others than plain transformers stay as they are.
        device: where they run.
        wanted: see `compiles`; null also leaves out encoders without blocks.

    Raises:
        UserError: there is no plain transformer among them, or nothing to compile with on this machine.
    """
    transformers = [encoder for encoder in encoders if isinstance(encoder, TransformerEncoder)]
    if wanted and not transformers:
        names = " and ".join(encoder.spec.name for encoder in encoders)
        raise UserError(f"compile: {names} has no transformer blocks to compile; set it to false")
    if not transformers or not compiles(device, wanted):
        return
    for encoder in transformers:
        for block in encoder.model.blocks:
            block.compile()


def adamw(groups: list[dict[str, Any]], lr: float, trainer: L.Trainer | None = None) -> torch.optim.AdamW:
    """AdamW with the official betas and epsilon; fused, unless gradients are clipped in mixed precision.

    Lightning refuses to clip those of a fused optimiser there.

    Args:
        groups: parameters with their own decay, perhaps with their own rate.
        lr: learning rate of the groups that have none.
        trainer: whose clipping and precision count.
    """
    clipped = trainer is not None and bool(trainer.gradient_clip_val) and "mixed" in str(trainer.precision)
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), eps=1e-8, fused=not clipped, foreach=clipped)


def _rounded(network: nn.Module) -> Iterator[nn.Module]:
    # Exactly these classes: others may compute with their weight before autocast sees it, as weight standardisation
    # does and EVA02's attention with low-rank additions.
    aside = {id(part) for layer in network.modules() if isinstance(layer, LowRankLinear) for part in layer.modules()}
    for layer in network.modules():
        plain = type(layer) in (nn.Linear, nn.Conv2d) and id(layer) not in aside and _FULL not in layer.__dict__
        if plain and not any(parameter.requires_grad for parameter in layer.parameters(recurse=False)):
            yield layer


def _give_full(layer: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
    full, _ = layer.__dict__[_FULL]
    state.update({f"{prefix}{name}": value for name, value in full.items()})
