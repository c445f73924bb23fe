"""What a teacher or a student is: a backbone, of timm or of one's own, that gives tokens and feature maps."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import VisionTransformer
from torch import nn

from gkd_lightning.encoders.attention import suit_attention
from gkd_lightning.encoders.joined import joined_pass
from gkd_lightning.encoders.patch_projection import project_by_product
from gkd_lightning.encoders.types import EncoderSpec, Joining, Tokens
from gkd_lightning.errors import UserError


class Encoder(nn.Module, ABC):
    """Images in, tokens and feature maps out; normalises its input with its own statistics.

    To bring an encoder that timm does not have, derive from this class: take the specification (its `options` come as
    keyword arguments), build a network, hand it to this constructor, set the four attributes below that have no
    default, and write `forward`. A specification whose `name` is the class path then means it, wherever encoders are
    named. All that has weights belongs into `model`: these are what a file of weights is loaded into, strictly, and
    what an artefact holds. A class that reads `spec.weights` itself says so in `loaded`.

    Attributes:
        model: the network.
        embed_dim: width D of the tokens.
        patch_size: pixels per token and side.
        depth: number of blocks (stages of a hierarchical backbone).
        image_size: (height, width) that the weights are laid out for.
        fixed_size: True if it takes images of `image_size` only.
        hierarchical: True if `features` gives its own maps of stride 4 to 32 instead of block outputs.
        feature_dims: channels of each map that `features` gives, for `blocks` of any choice.
        spec: the specification it was built from.
        loaded: what was done to the weights file on the way in (keys renamed, resized, ignored, left at their
            initial value), a line each; None for random weights.
    """

    embed_dim: int
    patch_size: int
    depth: int
    image_size: tuple[int, int]
    fixed_size: bool = False
    hierarchical: bool = False
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        spec: EncoderSpec,
        model: Any,
        mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
        std: Sequence[float] = IMAGENET_DEFAULT_STD,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.loaded: str | None = None
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) RGB, uint8 in 0..255 or float in [0, 1], to this network's input statistics."""
        if images.dtype == torch.uint8:
            images = images.float().div_(255.0)
        return (images - self.mean) / self.std

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of tokens for an image of `size` (height, width).

        Raises:
            UserError: if the size is not a multiple of the patch size.
        """
        height, width = size
        if height % self.patch_size or width % self.patch_size:
            nearest = tuple(max(1, round(side / self.patch_size)) * self.patch_size for side in size)
            raise UserError(
                f"{self.spec.name}: image size {height}x{width} is not a multiple of the patch size "
                f"{self.patch_size}; the nearest that fits is {nearest[0]}x{nearest[1]}"
            )
        return height // self.patch_size, width // self.patch_size

    def require(self, size: tuple[int, int]) -> None:
        """Refuse images of a `size` (height, width) that it does not take.

        Raises:
            UserError: the size is no multiple of the patch size, or another than the only one.
        """
        self.grid(size)
        self._check(size)

    def _check(self, size: tuple[int, int]) -> None:
        if self.fixed_size and size != self.image_size:
            raise UserError(
                f"{self.spec.name} is laid out for {self.image_size[0]}x{self.image_size[1]} images and got "
                f"{size[0]}x{size[1]}; set its image_size"
            )

    @property
    def feature_dims(self) -> list[int]:
        """Channels of the maps that `features` returns (one entry per block or stage): the same for every block."""
        return [self.embed_dim] * self.depth

    @abstractmethod
    def forward(
        self, images: torch.Tensor, blocks: Sequence[int] = (), mask: torch.Tensor | None = None
    ) -> tuple[Tokens, list[torch.Tensor]]:
        """One pass that gives the tokens after the final norm and the raw outputs of `blocks`.

        Args:
            images: (B, 3, H, W) RGB, uint8 or float in [0, 1].
            blocks: indices of the blocks whose outputs are wanted (ignored by hierarchical encoders).
            mask: (B, N) bool; True replaces the patch by the mask token before positions are added.

        Returns:
            The tokens, and the block outputs as (B, D, h, w) maps before the final norm.
        """

    def tokens(self, images: torch.Tensor, mask: torch.Tensor | None = None) -> Tokens:
        """Tokens after the final norm; arguments as in `forward`."""
        tokens: Tokens = self(images, (), mask)[0]
        return tokens

    def features(self, images: torch.Tensor, blocks: Sequence[int]) -> list[torch.Tensor]:
        """Raw outputs of `blocks` as (B, D, h, w) maps; a hierarchical encoder gives its own stages."""
        maps: list[torch.Tensor] = self(images, blocks)[1]
        return maps


class TransformerEncoder(Encoder):
    """A plain vision transformer of timm (`VisionTransformer` or `Eva`) with a learned mask token."""

    def __init__(self, spec: EncoderSpec, model: Any, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(spec, model, mean, std)
        self.embed_dim = model.embed_dim
        self.depth = len(model.blocks)
        self.patch_size = model.patch_embed.patch_size[0]
        height, width = model.patch_embed.img_size
        self.image_size = (height, width)
        self.fixed_size = not model.dynamic_img_size  # EVA02 with its rotary table
        self.mask_token = nn.Parameter(torch.zeros(1, self.embed_dim))
        self._mask: torch.Tensor | None = None
        project_by_product(model.patch_embed.proj)
        model.patch_embed.register_forward_hook(self._replace_masked)

    @property
    def has_class_token(self) -> bool:
        """Whether the first of timm's prefix tokens is one: there are models with registers alone."""
        return getattr(self.model, "cls_token", None) is not None

    @property
    def can_be_joined(self) -> bool:
        """Whether `forward` takes a `Joining`: rotary positions (Eva) would be given to the wrong tokens."""
        return isinstance(self.model, VisionTransformer)

    def _replace_masked(self, module: nn.Module, inputs: Any, tokens: torch.Tensor) -> torch.Tensor:
        # A hook on the patch embedding reaches the one place between embedding and positions without a copy of
        # timm's forward and without renaming a parameter.
        if self._mask is None:
            return tokens
        mask = self._mask.reshape(*tokens.shape[:-1], 1)
        return torch.where(mask, self.mask_token.to(tokens.dtype), tokens)

    def forward(
        self,
        images: torch.Tensor,
        blocks: Sequence[int] = (),
        mask: torch.Tensor | None = None,
        joining: Joining | None = None,
    ) -> tuple[Tokens, list[torch.Tensor]]:
        """See `Encoder.forward`; `joining` are tokens that go through the last blocks, too, see `Tokens.joined`."""
        size = (images.shape[-2], images.shape[-1])
        grid = self.grid(size)
        self._check(size)
        for block in blocks:
            if not 0 <= block < self.depth:
                raise UserError(f"{self.spec.name} has blocks 0 to {self.depth - 1}, there is no block {block}")
        suit_attention(self.model, images.device, grid[0] * grid[1])
        self._mask = mask
        try:
            # timm returns maps in ascending order of the block; every block index is asked for once. Without any
            # it still wants one, which costs nothing as the (B, N, D) view that the last block gives.
            wanted, normalized = sorted(set(blocks)), self.normalize(images)
            joined: tuple[torch.Tensor, ...] = ()
            told: tuple[Any, ...] = ()
            if joining is not None:
                tokens, maps, joined, told = joined_pass(self.model, normalized, wanted, grid, joining)
            else:
                indices, form = wanted or [self.depth - 1], "NCHW" if wanted else "NLC"
                tokens, maps = self.model.forward_intermediates(normalized, indices, norm=False, output_fmt=form)
        finally:
            self._mask = None
        prefix = self.model.num_prefix_tokens
        patches = tokens[:, prefix:]
        cls = tokens[:, 0] if self.has_class_token else patches.mean(dim=1)
        by_block = dict(zip(wanted, maps, strict=False))
        return Tokens(cls, patches, grid, joined, told), [by_block[block] for block in blocks]


class FeatureMapEncoder(Encoder):
    """A hierarchical backbone of timm (CNN, Swin, ...): its patch tokens are its last stage, or several stages joined.

    It has no patch tokens to mask, so `mask` blanks input patches (to the normalisation's mean) instead.

    Attributes:
        pruned: keys of the full timm model that come after the last stage and were cut off (they would be unused
            parameters under DDP); a weights file may hold them.
    """

    hierarchical = True

    def __init__(self, spec: EncoderSpec, model: Any, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__(spec, model, mean, std)
        info = model.feature_info
        info = info.info if hasattr(info, "info") else info
        self._stages = [
            max(i for i, stage in enumerate(info) if stage["reduction"] == reduction)
            for reduction in sorted({stage["reduction"] for stage in info})
            if reduction >= 4
        ][:4]
        if len(self._stages) < 4:
            strides = sorted({stage["reduction"] for stage in info})
            raise UserError(
                f"{spec.name}: gives maps of stride {', '.join(map(str, strides))}; wanted is a plain transformer of "
                "timm's VisionTransformer or Eva class, or a backbone with maps of stride 4, 8, 16 and 32"
            )
        full = set(model.state_dict())
        model.prune_intermediate_layers(self._stages, prune_norm=True, prune_head=True)
        self.pruned = full - set(model.state_dict())
        self._dims = [info[stage]["num_chs"] for stage in self._stages]
        self.patch_size = spec.token_stride or 32
        self._joined = [i for i, stage in enumerate(self._stages) if info[stage]["reduction"] >= self.patch_size]
        self.embed_dim = sum(self._dims[stage] for stage in self._joined)
        self.depth = len(self._stages)
        size = spec.hw or model.pretrained_cfg["input_size"][1:]
        self.image_size = (size[0], size[1])
        self.fixed_size = bool(model.pretrained_cfg.get("fixed_input_size", False))
        self._grids: dict[tuple[int, int], tuple[int, int]] = {}

    @property
    def feature_dims(self) -> list[int]:
        """Channels of the stages of stride 4, 8, 16 and 32."""
        return list(self._dims)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the tokens' finest map: some backbones round a size up that does not fit, some down.

        Raises:
            UserError: the backbone takes images of its own size only (Swin).
        """
        self._check(size)
        if size not in self._grids:
            probe = copy.deepcopy(self.model).eval().to("meta")
            finest = self._maps(probe, torch.empty(1, 3, *size, device="meta"))[self._joined[0]]
            self._grids[size] = (finest.shape[-2], finest.shape[-1])
        return self._grids[size]

    def _maps(self, model: Any, normalized: torch.Tensor) -> list[torch.Tensor]:
        maps: list[torch.Tensor] = model.forward_intermediates(
            normalized, indices=self._stages, norm=False, output_fmt="NCHW", intermediates_only=True
        )
        return maps

    def forward(
        self, images: torch.Tensor, blocks: Sequence[int] = (), mask: torch.Tensor | None = None
    ) -> tuple[Tokens, list[torch.Tensor]]:
        """See `Encoder.forward`."""
        size = (images.shape[-2], images.shape[-1])
        self._check(size)
        normalized = self.normalize(images)
        normalized = normalized if mask is None else blanked(normalized, mask, self.grid(size))
        maps = self._maps(self.model, normalized)
        grid = (maps[self._joined[0]].shape[-2], maps[self._joined[0]].shape[-1])
        joined = [resized(maps[stage], grid) for stage in self._joined]
        patches = torch.cat([each.flatten(2).transpose(1, 2) for each in joined], dim=-1)
        return Tokens(patches.mean(dim=1), patches, grid), list(maps)


def resized(maps: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """(B, D, h, w) on `grid` (rows, columns), bilinear; as they are where they have it."""
    if maps.shape[-2:] == grid:
        return maps
    return nn.functional.interpolate(maps, grid, mode="bilinear", align_corners=False)


def blanked(normalized: torch.Tensor, mask: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """(B, 3, H, W) with the mean's colour where a patch of `grid` (rows, columns) is masked; `mask` is (B, N)."""
    blank = mask.reshape(-1, 1, *grid).float()
    return normalized * (1.0 - nn.functional.interpolate(blank, size=normalized.shape[-2:], mode="nearest"))
