"""What a configuration says about an encoder, and what an encoder gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch

from gkd_lightning.ranges import Pixels, check_arguments

ResizeRule = Literal["bicubic", "bicubic-offset", "pseudo-inverse", "cropped", "cropped-corners"]


class Tokens(NamedTuple):
    """Tokens of a batch of images after the encoder's final norm."""

    cls: torch.Tensor
    """(B, D) class token; the mean of the patch tokens where an encoder has none."""
    patches: torch.Tensor
    """(B, N, D) patch tokens in row-major order, N = grid[0] * grid[1]."""
    grid: tuple[int, int]
    """Rows and columns of the patch grid."""
    joined: tuple[torch.Tensor, ...] = ()
    """What `Joining` asked for: its queries (B, Q, D) after each block that they went through, not normalised."""
    told: tuple[Any, ...] = ()
    """What `Joining.looking` told before each of these blocks."""


class Looking(NamedTuple):
    """What is to be known about queries before a block."""

    seen: torch.Tensor | None
    """(B, Q, N) bool: the patches that they may attend to in it; None for all."""
    told: Any
    """Anything, handed on in `Tokens.told`."""


class Joining(NamedTuple):
    """Tokens that go through a transformer's last blocks together with those of an image."""

    queries: torch.Tensor
    """(Q, D), the same for every image."""
    blocks: int
    """How many of the last blocks."""
    looking: Callable[[int, torch.Tensor, torch.Tensor], Looking] | None = None
    """Asked before each of these blocks: its number among them, the map (B, D, h, w) and the queries (B, Q, D) that go
    in. None lets all tokens attend to all."""


@dataclass
class EncoderSpec:
    """Everything that a configuration states about a teacher or a student, in plain types.

    Attributes:
        name: timm model name, such as ``vit_base_patch14_dinov2``, or the class path of an `Encoder`, such as
            ``my_teacher.MyTeacher``, which is called with this specification and `options`.
        weights: ``None`` for random weights, ``"pretrained"`` for timm's own file, ``"timm:MODEL"`` for timm's file
            of another model (the distilled DeiT in a plain one), ``"asset:NAME"`` for a file
            that travels with the package, or the path of a file: safetensors, or what PyTorch, Lightning, transformers
            and the models' authors write (docs/weights.md).
        image_size: side in pixels, or [height, width]; ``None`` keeps the model's default.
        patch_size: side of a patch in pixels; ``None`` keeps the model's default. Kernels are resized.
        resize: how patch kernels and position embeddings of a file are brought to this geometry.
            ``bicubic`` is the official rule for student and teacher files, ``bicubic-offset`` is what DINOv2's
            own hub model does at run time (scale factor (n + 0.1) / N), ``pseudo-inverse`` is timm's FlexiViT
            resize with antialiased position embeddings, ``cropped`` is RADIO's (position embeddings bilinear to a
            square of the longer side, whose upper left is taken) and ``cropped-corners`` that of its releases which
            align corners: RADIOv2.5, C-RADIOv3-B and -H.
        normalization: ``model`` uses the statistics of the model's pre-training, ``imagenet`` the ImageNet ones
            (which the official code feeds to every network, EVA02 included).
        tolerate: regular expressions; keys that one of them matches whole may be missing in the weights file or
            unknown to the model. Loading is strict otherwise.
        weights_key: which model of a weights file that holds several, as a dotted path in it: ``teacher``,
            ``state_dict_ema``, ``model.student.backbone``; ``None`` takes the one that training scripts mean.
        token_stride: of a hierarchical backbone (CNN, Swin, ...): pixels per token and side, 4, 8, 16 or 32. The stages
            of this stride and of all coarser ones are joined, these resized bilinearly, and their channels stand side
            by side; ``None`` takes the last stage alone.
        options: further arguments of ``timm.create_model``, such as ``{embed_dim: 96, depth: 4, num_heads: 3}``, or of
            the class.
    """

    name: str
    weights: str | None = None
    image_size: Pixels | list[Pixels] | None = None
    patch_size: Pixels | None = None
    resize: ResizeRule = "bicubic"
    normalization: Literal["model", "imagenet"] = "model"
    options: dict[str, Any] = field(default_factory=dict)
    tolerate: list[str] = field(default_factory=list)
    weights_key: str | None = None
    token_stride: Literal[4, 8, 16, 32] | None = None

    def __post_init__(self) -> None:
        check_arguments(type(self), vars(self))

    @property
    def hw(self) -> tuple[int, int] | None:
        """Image size as (height, width), or None for the model's default."""
        if self.image_size is None:
            return None
        if isinstance(self.image_size, int):
            return (self.image_size, self.image_size)
        height, width = self.image_size
        return (height, width)
