"""G2SD's generic stage: the teacher's tokens, predicted from a quarter of the image (Huang et al., CVPR 2023)."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from gkd_lightning.distill import Masking, Objective, Passes
from gkd_lightning.encoders import Encoder, TransformerEncoder
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Count, InnerShare, Weight


def standardised(tokens: Tensor) -> Tensor:
    """Every token less its mean, divided by its deviation over channels."""
    return F.layer_norm(tokens.float(), tokens.shape[-1:], eps=1e-6)


def generic_loss(prediction: Tensor, teacher: Tensor) -> Tensor:
    """Mean smooth L1 with beta 2 of (B, N, D) predictions against the teacher's standardised tokens."""
    return F.smooth_l1_loss(prediction.float(), standardised(teacher), beta=2.0)


class Decoder(nn.Module):
    """From the tokens of what was seen to all of the teacher's.

    Args:
        student_dim: width of the encoder's tokens.
        teacher_dim: width of the answer.
        dim: width inside.
        depth: transformer blocks.
        heads: of their attention.
        mlp_ratio: of their MLP.
    """

    def __init__(
        self, student_dim: int, teacher_dim: int, dim: int = 256, depth: int = 4, heads: int = 8, mlp_ratio: float = 4.0
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(student_dim, dim)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        nn.init.normal_(self.mask_token, std=0.02)
        norm = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.ModuleList(Block(dim, heads, mlp_ratio, qkv_bias=True, norm_layer=norm) for _ in range(depth))
        self.predict = nn.Sequential(nn.Linear(dim, teacher_dim), nn.GELU(), nn.Linear(teacher_dim, teacher_dim))

    def hidden(self, latent: Tensor, restore: Tensor, positions: Tensor) -> Tensor:
        """The last block's output, (B, 1 + N, dim).

        Args:
            latent: (B, 1 + V, D) tokens: class token, then the V that were seen, in the order of `restore`.
            restore: (B, N) place of every token among the seen ones followed by the hidden ones.
            positions: (1, 1 + N, dim) added to all.
        """
        tokens = self.embed(latent)
        hidden = self.mask_token.expand(len(tokens), restore.shape[1] + 1 - tokens.shape[1], -1)
        both = torch.cat([tokens[:, 1:], hidden.to(tokens.dtype)], dim=1)
        ordered = both.gather(1, restore.unsqueeze(-1).expand(-1, -1, both.shape[-1]))
        x = torch.cat([tokens[:, :1], ordered], dim=1) + positions
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, latent: Tensor, restore: Tensor, positions: Tensor) -> Tensor:
        """(B, 1 + N, D_teacher) predictions; arguments as in `hidden`."""
        predicted: Tensor = self.predict(self.hidden(latent, restore, positions))
        return predicted


class G2SD(Objective):
    """``weight * generic``, see `generic_loss`, over the class token and all patch tokens.

    The student sees a random quarter of the patches; a decoder, thrown away later, predicts the teacher's tokens of the
    whole image. The authors' teacher is a masked autoencoder whose own decoder gives the target from the same quarter;
    DINOv2 and its like were never trained on quarters, so here they see the whole image and their final tokens are the
    target (standardised in either case).

    Args:
        mask_ratio: share of patches that the student does not see.
        dim: width of the decoder (authors: 256 for ViT-S).
        depth: its blocks.
        heads: of its attention.
        weight: factor.

    Source: ``G2SD/engine_distill.py`` and ``G2SD/models_mae.py`` of the authors' repository.
    """

    def __init__(
        self, mask_ratio: InnerShare = 0.75, dim: Count = 256, depth: Count = 4, heads: Count = 8, weight: Weight = 1.0
    ) -> None:
        super().__init__()
        self.mask_ratio, self.masking = mask_ratio, Masking(mask_ratio, 1.0)
        self.weights = {"generic": weight}
        self.size = {"dim": dim, "depth": depth, "heads": heads}

    def attach(self, student: Encoder, teacher: Encoder) -> None:
        """Make the decoder.

        Raises:
            UserError: a student that cannot see a part of an image only (rotary positions, convolutions).
        """
        model: Any = student.model
        plain = isinstance(student, TransformerEncoder) and hasattr(model, "_pos_embed")
        if not plain or getattr(model, "rope", None):
            raise UserError(f"student: {student.spec.name} cannot be shown a part of the patches, which G2SD does")
        self.decoder = Decoder(student.embed_dim, teacher.embed_dim, **self.size)

    def forward(self, passes: Passes) -> dict[str, Tensor]:
        """See `Objective.forward`."""
        student, target = passes.student_encoder, passes.teacher
        assert isinstance(student, TransformerEncoder)  # `attach` has looked
        order = passes.hidden.to(torch.uint8).argsort(dim=1, stable=True)  # seen ones first
        seen = order.shape[1] - int(order.shape[1] * self.mask_ratio)

        def run() -> Tensor:
            latent = visible_tokens(student, passes.images, order[:, :seen])
            passes.outputs.append(latent)
            return latent

        latent = passes.once(f"{seen} visible tokens", run)
        predicted = self.decoder(latent, order.argsort(dim=1), self._positions(*target.grid, latent))
        whole = torch.cat([target.cls.unsqueeze(1), target.patches], dim=1)
        return {"generic": generic_loss(predicted, whole)}

    def _positions(self, rows: int, columns: int, like: Tensor) -> Tensor:
        grid = build_sincos2d_pos_embed(
            [rows, columns], self.size["dim"], interleave_sin_cos=False, dtype=torch.float32, device=like.device
        )
        return torch.cat([grid.new_zeros(1, self.size["dim"]), grid]).unsqueeze(0)


def visible_tokens(student: TransformerEncoder, images: Tensor, seen: Tensor) -> Tensor:
    """Class token and chosen patch tokens (B, 1 + V, D), after the final norm, of an encoder that sees only these.

    Args:
        student: a `VisionTransformer` of timm; without a class token the mean of the chosen patches stands for it.
        images: (B, 3, H, W).
        seen: (B, V) indices of patches in row-major order.
    """
    model: Any = student.model
    x = model._pos_embed(model.patch_embed(student.normalize(images)))
    prefix = model.num_prefix_tokens
    chosen = x[:, prefix:].gather(1, seen.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
    x = model.norm_pre(torch.cat([x[:, :prefix], chosen], dim=1))
    for block in model.blocks:
        x = block(x)
    x = model.norm(x)
    patches = x[:, prefix:]
    first = x[:, :1] if student.has_class_token else patches.mean(1, keepdim=True)
    return torch.cat([first, patches], dim=1)
