"""Encoders whose last blocks a head's queries can join."""

from __future__ import annotations

from collections.abc import Sequence

from gkd_lightning.encoders import Encoder, Frozen, Joining, PartlyFrozen, TransformerEncoder, refinement_of
from gkd_lightning.errors import UserError


def joinable(
    encoder: Encoder | Frozen[Encoder], joining: Joining | None, blocks: Sequence[int]
) -> Encoder | Frozen[Encoder]:
    """The encoder, through which gradients reach the queries that join its blocks, also where all of it is frozen.

    Args:
        encoder: frozen or not.
        joining: what the head asks for; with None the encoder stays what it is.
        blocks: those of the pyramid.

    Raises:
        UserError: the encoder cannot be joined, or the pyramid does not end with its last block.
    """
    if joining is None:
        return encoder
    bare = encoder.module if isinstance(encoder, Frozen) else encoder
    if not isinstance(bare, TransformerEncoder) or not bare.can_be_joined:
        raise UserError(f"head: queries join the blocks of a plain vision transformer, and {bare.spec.name} is none")
    if refinement_of(bare) is not None:
        raise UserError("head, refinement: queries that join the blocks would be refined as patches; give one of them")
    if joining.blocks > bare.depth:
        raise UserError(f"head.blocks: {joining.blocks}, but {bare.spec.name} has {bare.depth}")
    if blocks[-1] != bare.depth - 1:
        raise UserError(
            f"blocks: {list(blocks)} must end with the last block, {bare.depth - 1}: the head reads its map"
        )
    return PartlyFrozen(bare, ()) if type(encoder) is Frozen else encoder
