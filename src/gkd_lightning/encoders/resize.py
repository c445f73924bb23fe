"""Patch kernels and position embeddings of one geometry brought to another.

Rules and their sources: `EncoderSpec.resize`. The official code resizes checkpoints with plain bicubic
interpolation (distillation_models_deit.py:28-61) and DINOv2's hub model resizes its position embedding at
run time by a scale factor with an offset of 0.1 (models_dinov2.py:654-682); the two differ visibly.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed, resample_patch_embed

from gkd_lightning.encoders.types import ResizeRule


def resize_patch_kernel(kernel: torch.Tensor, size: tuple[int, int], rule: ResizeRule = "bicubic") -> torch.Tensor:
    """Resize a patch embedding's convolution kernel (D, C, h, w) to (D, C, *size).

    The bicubic rules keep the official behaviour: no antialiasing and no correction of the kernel's energy, so
    the kernel's sum grows with its area.
    """
    if tuple(kernel.shape[-2:]) == size:
        return kernel
    if rule == "pseudo-inverse":
        resized: torch.Tensor = resample_patch_embed(kernel, list(size))
        return resized
    return F.interpolate(kernel.float(), size=size, mode="bicubic", align_corners=False).to(kernel.dtype)


def resize_position_embedding(
    embedding: torch.Tensor,
    source: tuple[int, int],
    target: tuple[int, int],
    prefix: int,
    rule: ResizeRule = "bicubic",
) -> torch.Tensor:
    """Resize a position embedding (1, prefix + h*w, D) from the `source` grid (h, w) to the `target` grid.

    The `prefix` rows (class token, registers) are kept as they are. With ``bicubic-offset`` an unchanged grid is
    left alone, as DINOv2 does.
    """
    if embedding.shape[1] != prefix + source[0] * source[1]:
        raise ValueError(f"{embedding.shape[1]} positions are not {prefix} + {source[0]}x{source[1]}")
    if source == target:
        return embedding
    if rule == "pseudo-inverse":
        resampled: torch.Tensor = resample_abs_pos_embed(
            embedding, new_size=list(target), old_size=list(source), num_prefix_tokens=prefix
        )
        return resampled
    head, grid = embedding[:, :prefix], embedding[:, prefix:]
    grid = grid.reshape(1, *source, -1).permute(0, 3, 1, 2).float()
    if rule == "bicubic-offset":
        scale = tuple((new + 0.1) / old for new, old in zip(target, source, strict=True))
        grid = F.interpolate(grid, scale_factor=scale, mode="bicubic", align_corners=False)
    else:
        grid = F.interpolate(grid, size=target, mode="bicubic", align_corners=False)
    grid = grid.permute(0, 2, 3, 1).reshape(1, target[0] * target[1], -1)
    return torch.cat([head, grid.to(embedding.dtype)], dim=1)
