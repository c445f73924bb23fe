"""Which of an encoder's parameters a loss can reach."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gkd_lightning.encoders import Encoder, Tokens, unreached


def freeze_unreached(encoder: Encoder, blocks: Sequence[int], with_tokens: bool) -> list[str]:
    """Freeze the parameters that neither the maps of `blocks` nor (if asked) the tokens depend on.

    The final norm, the mask token and blocks after the last chosen one get no gradient from a head that reads
    block outputs; left trainable, they would stop distributed training (unused parameters).

    Returns:
        Names of the parameters that were frozen.
    """
    names = [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]
    images = torch.empty(1, 3, *encoder.image_size, device="meta")

    def total(output: tuple[Tokens, list[Tensor]]) -> Tensor:
        tokens, maps = output
        outputs = [*maps, tokens.cls, tokens.patches] if with_tokens else maps
        return torch.stack([each.sum() for each in outputs]).sum()

    modes = {module: module.training for module in encoder.modules()}
    found = unreached(encoder.eval(), names, (images, blocks), total)
    for module, mode in modes.items():  # `train` would give all of them one mode
        module.training = mode
    for name in found:
        encoder.get_parameter(name).requires_grad_(False)
    return found
