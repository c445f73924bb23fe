"""An encoder for images of one size alone: what depends on the size is worked out beforehand, not in every pass."""

from __future__ import annotations

import copy

from gkd_lightning.encoders.encoder import Encoder, TransformerEncoder


def fixed_to(encoder: Encoder, size: tuple[int, int]) -> Encoder:
    """A copy whose position embeddings are laid out for images of `size` (height, width), as it would resize them.

    For graphs that leave this library, in which nothing is to be resized. An encoder other than timm's transformers has
    nothing to prepare.
    """
    fixed = copy.deepcopy(encoder)
    if isinstance(fixed, TransformerEncoder) and not fixed.fixed_size:
        fixed.model.set_input_size(img_size=size)
        fixed.model.dynamic_img_size = False
        fixed.model.patch_embed.flatten = True  # the shape that a model of one size asks of it
        rope = getattr(fixed.model, "rope", None)
        if rope is not None and getattr(rope, "feat_shape", ()) is None:
            rope.feat_shape = list(fixed.grid(size))  # DINOv3's is not told otherwise
        fixed.image_size, fixed.fixed_size = size, True
    return fixed
