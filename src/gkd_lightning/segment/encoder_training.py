"""How much of the encoder learns in stage 2: nothing, its last blocks, what is added to it, or all of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from gkd_lightning.encoders import (
    Encoder,
    Frozen,
    LowRank,
    PartlyFrozen,
    Refinement,
    Tokens,
    TransformerEncoder,
    add_low_rank,
    add_refinement,
    refining_tokens,
    unreached,
)
from gkd_lightning.errors import UserError


def prepared_encoder(
    encoder: Encoder,
    freeze: bool,
    last_blocks: int = 0,
    low_rank: LowRank | None = None,
    refinement: Refinement | None = None,
) -> Encoder | Frozen[Encoder]:
    """Wrap (and, for additions, change) an encoder so that just the wanted part of it learns.

    Args:
        encoder: with its weights.
        freeze: False lets all of it learn; the others are then empty.
        last_blocks: this many blocks at the end, and the final norm, learn all the same.
        low_rank: additions to its linear layers learn, its own weights do not.
        refinement: tokens between its blocks learn, its own weights do not.

    Raises:
        UserError: more than one way at once, more blocks than there are, or an encoder without numbered blocks.
    """
    ways = {"last_blocks": last_blocks or None, "low_rank": low_rank, "refinement": refinement}
    given = [name for name, way in ways.items() if way is not None]
    if not freeze:
        for name in given:
            raise UserError(f"{name}: is for a frozen encoder, and freeze_encoder is false")
        return encoder
    if len(given) > 1:
        raise UserError(f"{', '.join(given)}: give one of them")
    if refinement is not None:
        return PartlyFrozen(encoder, add_refinement(encoder, refinement))
    if low_rank is not None:
        return PartlyFrozen(encoder, add_low_rank(encoder, low_rank))
    if last_blocks:
        if not isinstance(encoder, TransformerEncoder):
            raise UserError(f"last_blocks: {encoder.spec.name} is no plain transformer, its stages are not told apart")
        if not 0 < last_blocks <= encoder.depth:
            raise UserError(f"last_blocks: {last_blocks}, but {encoder.spec.name} has {encoder.depth} blocks")
        first = encoder.depth - last_blocks
        blocks = [f"model.blocks.{index}" for index in range(first, encoder.depth)]
        return PartlyFrozen(encoder, [*blocks, "model.norm"])
    return Frozen(encoder)


def freeze_unreached(encoder: Encoder, blocks: Sequence[int], with_tokens: bool, linked: bool = False) -> list[str]:
    """Freeze the parameters that neither the maps of `blocks` nor (if asked) the tokens depend on; returns their names.

    With `linked`, the head's queries depend on the tokens that refine the blocks, on all of them.

    The final norm, the mask token and blocks after the last chosen one get no gradient from a head that reads
    block outputs; left trainable, they would stop distributed training (unused parameters).
    """
    names = [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]
    images = torch.empty(1, 3, *encoder.image_size, device="meta")

    def total(output: tuple[Tokens, list[Tensor]]) -> Tensor:
        tokens, maps = output
        outputs = [*maps, tokens.cls, tokens.patches] if with_tokens else list(maps)
        if linked:
            outputs.append(refining_tokens(encoder))
        return torch.stack([each.sum() for each in outputs]).sum()

    modes = {module: module.training for module in encoder.modules()}
    found = unreached(encoder.eval(), names, (images, blocks), total)
    for module, mode in modes.items():  # `train` would give all of them one mode
        module.training = mode
    for name in found:
        encoder.get_parameter(name).requires_grad_(False)
    return found


def weights_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and values of a state dict: the same for the same weights, of which neither is kept."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
