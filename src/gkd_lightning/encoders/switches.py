"""What can be traded in a plain transformer without touching its numbers or its keys: time, memory, start-up."""

from __future__ import annotations

import importlib.util
import os
import shutil

import torch

from gkd_lightning.encoders.encoder import Encoder, TransformerEncoder
from gkd_lightning.errors import UserError


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
