"""Patch features as colours: the three strongest principal components become red, green and blue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gkd_lightning.data.types import Image
from gkd_lightning.encoders import Encoder

FeatureMap = NDArray[np.float32]
"""(h, w, D)."""


@torch.no_grad()
def patch_maps(encoder: Encoder, images: Sequence[Image]) -> list[FeatureMap]:
    """Patch tokens after the final norm, as maps (h, w, D), of RGB uint8 images (H, W, 3) that fit the encoder."""
    was_training = encoder.training
    encoder.eval()
    device = next(encoder.parameters()).device
    maps = []
    for image in images:
        batch = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].to(device)
        tokens = encoder.tokens(batch)
        maps.append(tokens.patches[0].float().reshape(*tokens.grid, -1).cpu().numpy())
    encoder.train(was_training)
    return maps


def pca_pictures(features: Mapping[str, Sequence[FeatureMap]], reference: str) -> dict[str, list[Image]]:
    """Feature maps of several encoders on the same images as pictures whose colours can be compared.

    Each encoder has one basis, shared by all its images: the singular value decomposition of its centred tokens,
    each component scaled to unit variance. Encoders differ in width, so the three components of the others are
    turned (a rotation or reflection, nothing is fitted beyond that) as close as possible to those of `reference`,
    the teacher. Equal colours then mean: the student sorts the patches like the teacher does.

    Args:
        features: per encoder one map (h, w, D) per image; D may differ, D >= 3.
        reference: key of the encoder whose colours the others follow.

    Returns:
        uint8 (h, w, 3) pictures, in the order given.
    """
    teacher = _components(features[reference])
    low, high = np.percentile(np.concatenate([part.reshape(-1, 3) for part in teacher]), [2, 98], axis=0)
    pictures = {}
    for name, maps in features.items():
        parts = _components(maps)
        if name != reference:
            grids = [part.shape[:2] for part in parts]
            target = np.concatenate([_resize(part, grid) for part, grid in zip(teacher, grids, strict=True)])
            ours = np.concatenate([part.reshape(-1, 3) for part in parts])
            left, _, right = np.linalg.svd(ours.T @ target)
            parts = [part @ (left @ right) for part in parts]
        pictures[name] = [
            (255 * np.clip((part - low) / (high - low + 1e-12), 0, 1)).round().astype(np.uint8) for part in parts
        ]
    return pictures


def _components(maps: Sequence[FeatureMap]) -> list[NDArray[np.float64]]:
    """Three principal components (h, w, 3) with unit variance over all maps; their signs are fixed by a rule."""
    tokens = np.concatenate([part.reshape(-1, part.shape[-1]) for part in maps]).astype(np.float64)
    mean = tokens.mean(0)
    _, _, basis = np.linalg.svd(tokens - mean, full_matrices=False)
    basis = basis[:3] * np.sign(basis[:3, np.abs(basis[:3]).argmax(1)].diagonal())[:, None]
    scale = ((tokens - mean) @ basis.T).std(0) + 1e-12
    return [((part - mean) @ basis.T) / scale for part in maps]


def _resize(part: NDArray[np.float64], grid: tuple[int, ...]) -> NDArray[np.float64]:
    """(h, w, 3) to another grid, bilinear, as tokens (h' w', 3)."""
    resized = F.interpolate(torch.from_numpy(part).permute(2, 0, 1)[None], size=grid[:2], mode="bilinear")
    return resized[0].permute(1, 2, 0).reshape(-1, 3).numpy()
