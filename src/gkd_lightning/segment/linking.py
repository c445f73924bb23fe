"""Where a head's learned queries come from the tokens of a refined encoder."""

from __future__ import annotations

from gkd_lightning.encoders import Encoder, LinkedQueries, refinement_of
from gkd_lightning.errors import UserError
from gkd_lightning.segment.segmentation_head import SegmentationHead


def link_between(encoder: Encoder, head: SegmentationHead) -> LinkedQueries | None:
    """What makes queries of the encoder's tokens; None if its refinement does not ask for it.

    The head's own queries learn no more. They wait for what the others have become, see `Segmenter.keep_queries`.

    Raises:
        UserError: the head has no queries that could be replaced, or another number of them.
    """
    refinement = refinement_of(encoder)
    if refinement is None or not refinement.linked:
        return None
    own = head.linkable
    if own is None:
        raise UserError(
            f"refinement.linked: {type(head).__name__} has no queries to link to the tokens; set it to false"
        )
    queries, width = own.shape
    if queries != refinement.tokens:
        raise UserError(
            f"refinement.tokens: {refinement.tokens} tokens are linked to as many queries, "
            f"and head.queries is {queries}"
        )
    own.requires_grad_(False)
    return LinkedQueries(encoder.embed_dim, width)
