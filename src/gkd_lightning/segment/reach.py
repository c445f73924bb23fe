"""Which of an encoder's parameters a loss can reach."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.func import functional_call

from gkd_lightning.encoders import Encoder


def freeze_unreached(encoder: Encoder, blocks: Sequence[int], with_tokens: bool) -> list[str]:
    """Freeze the parameters that neither the maps of `blocks` nor (if asked) the tokens depend on.

    The final norm, the mask token and blocks after the last chosen one get no gradient from a head that reads
    block outputs; left trainable, they would stop distributed training (unused parameters). Found out by
    one forward and backward pass on the meta device, which computes nothing.

    Returns:
        Names of the parameters that were frozen.
    """
    names = [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]
    shadow = {name: value.detach().to("meta") for name, value in encoder.state_dict(keep_vars=True).items()}
    shadow |= {name: value.detach().to("meta") for name, value in encoder.named_buffers()}
    for name in names:
        shadow[name].requires_grad_()
    images = torch.empty(1, 3, *encoder.image_size, device="meta")
    training = encoder.training
    tokens, maps = functional_call(encoder.eval(), shadow, (images, blocks))
    encoder.train(training)
    outputs = [*maps, tokens.cls, tokens.patches] if with_tokens else maps
    total = torch.stack([output.sum() for output in outputs]).sum()
    gradients = torch.autograd.grad(total, [shadow[name] for name in names], allow_unused=True)
    unreached = [name for name, gradient in zip(names, gradients, strict=True) if gradient is None]
    for name in unreached:
        encoder.get_parameter(name).requires_grad_(False)
    return unreached
