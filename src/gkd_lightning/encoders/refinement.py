"""Learned tokens that refine a frozen transformer's patches between its blocks (Rein, arXiv 2312.04265).

Written from the paper's formulas: its equations 3 to 6 for the refinement, 9 for the low rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from gkd_lightning.encoders.encoder import Encoder, TransformerEncoder
from gkd_lightning.errors import UserError
from gkd_lightning.ranges import LARGE, Count, Range, check_arguments

_SHARED, _OWN = "refinement", "refining_tokens"
"""Where the model keeps what its blocks share, and a block its tokens."""


@dataclass(frozen=True)
class Refinement:
    """How large the refinement is; the defaults are the paper's.

    Attributes:
        tokens: m, learned for every block; the first takes the share of a patch that is to stay as it is.
        rank: r; the m tokens of width D are a product of (m, r) and (r, D).
        linked: whether the head's queries, as many as tokens, are made of the tokens of all blocks (`LinkedQueries`).
    """

    tokens: Annotated[int, Range(2, LARGE)] = 100
    rank: Count = 16
    linked: bool = False

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self))


class RefiningTokens(nn.Module):
    """The tokens of one block, ``T = A B``; their entries start with timm's deviation of tokens, 0.02."""

    def __init__(self, count: int, rank: int, width: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.empty(count, rank))
        self.b = nn.Parameter(torch.empty(rank, width))
        nn.init.normal_(self.a, std=rank**-0.5)
        nn.init.normal_(self.b, std=0.02)

    def forward(self) -> Tensor:
        """(m, D)."""
        return self.a @ self.b


class TokenRefinement(nn.Module):
    """What all blocks share: two layers, of which the last is zero at first, so that nothing changes.

    Args:
        width: D.
        prefix: tokens before the patches, such as the class token, which stay as they are.
        settings: from which it was made.
    """

    def __init__(self, width: int, prefix: int, settings: Refinement) -> None:
        super().__init__()
        self.prefix = prefix
        self.settings = settings
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, patches: Tensor, tokens: Tensor) -> Tensor:
        """What is added to (B, N, D) patches by (m, D) tokens: ``(S[:, 1:] value(T[1:]) + f) W + b``.

        S is the softmax of ``f T^T / sqrt(D)`` over all m tokens.
        """
        shares = torch.softmax(patches @ tokens.mT * patches.shape[-1] ** -0.5, dim=-1)
        added: Tensor = self.output(shares[..., 1:] @ self.value(tokens[1:]) + patches)
        return added

    def after_block(self, block: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        """A forward hook: the block's output with refined patches."""
        patches = output[:, self.prefix :]
        refined = patches + self(patches, block.get_submodule(_OWN)())
        return torch.cat([output[:, : self.prefix], refined], dim=1) if self.prefix else refined


def add_refinement(encoder: Encoder, settings: Refinement) -> list[str]:
    """Refine what every block of `encoder` gives, in place.

    Hooks reach the places between the blocks without a copy of timm's forward and without renaming a parameter; each
    block's is the same, so that blocks share a compilation.

    Returns:
        Names of the parts that are to learn.

    Raises:
        UserError: the encoder is no plain transformer, or the rank is larger than the tokens.
    """
    if not isinstance(encoder, TransformerEncoder):
        raise UserError(f"refinement: {encoder.spec.name} is no plain transformer, there are no tokens to refine")
    most = min(settings.tokens, encoder.embed_dim)
    if settings.rank > most:
        raise UserError(f"refinement.rank: {settings.rank} is more than {most}, the least of tokens and their width")
    model = encoder.model
    # Drawn aside: what is drawn after it, such as a head, is that of a run without.
    with torch.random.fork_rng(devices=[]):
        shared = TokenRefinement(encoder.embed_dim, model.num_prefix_tokens, settings)
        model.add_module(_SHARED, shared)
        for block in model.blocks:
            block.add_module(_OWN, RefiningTokens(settings.tokens, settings.rank, encoder.embed_dim))
            block.register_forward_hook(shared.after_block)
    return [f"model.{_SHARED}", *(f"model.blocks.{index}.{_OWN}" for index in range(encoder.depth))]


def refinement_of(encoder: Encoder) -> Refinement | None:
    """From which settings an encoder's refinement was made; None if it has none."""
    shared = getattr(encoder.model, _SHARED, None)
    return shared.settings if isinstance(shared, TokenRefinement) else None


def refining_tokens(encoder: Encoder) -> Tensor:
    """(N, m, D), the tokens of all N blocks of a refined encoder."""
    return torch.stack([block.get_submodule(_OWN)() for block in encoder.model.blocks])
