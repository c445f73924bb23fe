"""Patch features as colours: the three strongest principal components become red, green and blue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from gkd_lightning.data import Image
from gkd_lightning.encoders import Encoder

FeatureMap = NDArray[np.float32]
"""(h, w, D)."""
Basis = Literal["own", "shared"]


def fitted(images: Sequence[Image], encoder: Encoder) -> list[Image]:
    """Stretched to the size that the encoder's weights are laid out for."""
    height, width = encoder.image_size
    return [np.asarray(cv2.resize(each, (width, height), interpolation=cv2.INTER_AREA), np.uint8) for each in images]


def stacked(images: Sequence[Image], encoder: Encoder) -> Tensor:
    """The same as a batch (B, 3, H, W) uint8 on the encoder's device."""
    device = next(encoder.parameters()).device
    return torch.from_numpy(np.stack(fitted(images, encoder))).permute(0, 3, 1, 2).to(device)


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


def pca_pictures(
    features: Mapping[str, Sequence[FeatureMap]], reference: str, basis: Basis = "own"
) -> dict[str, list[Image]]:
    """Feature maps of several encoders on the same images as pictures whose colours can be compared.

    Tokens are centred and projected on three principal components (singular value decomposition), each scaled to unit
    variance. Encoders differ in width, so the components of the others are turned by least squares over rotations and
    reflections (orthogonal Procrustes; nothing is fitted beyond that) as close as possible to those of `reference`,
    the teacher. Equal colours then mean: the student sorts the patches like the teacher does.

    Args:
        features: per encoder one map (h, w, D) per image; D may differ, D >= 3.
        reference: key of the encoder whose colours the others follow.
        basis: ``own``: every encoder has its own components, shared by all its images. ``shared``: encoders of one
            width have common ones, fitted jointly on the tokens of all of them (each centred and brought to the same
            mean norm), and are turned together. That compares stages of one chain, or students that began alike;
            channels of unrelated encoders mean different things.

    Returns:
        uint8 (h, w, 3) pictures, in the order given.
    """
    parts = _aligned(features, reference, basis)
    low, high = np.percentile(np.concatenate([part.reshape(-1, 3) for part in parts[reference]]), [2, 98], axis=0)
    return {
        name: [(255 * np.clip((part - low) / (high - low + 1e-12), 0, 1)).round().astype(np.uint8) for part in found]
        for name, found in parts.items()
    }


def patch_agreement(
    features: Mapping[str, Sequence[FeatureMap]], reference: str, basis: Basis = "own"
) -> dict[str, float]:
    """Correlation of every encoder's three components with those of `reference`, turned as in `pca_pictures`.

    Returns:
        Mean over the components, in [-1, 1]; 1 for the reference itself.
    """
    parts = _aligned(features, reference, basis)
    found = {}
    for name, maps in parts.items():
        ours = np.concatenate([part.reshape(-1, 3) for part in maps])
        theirs = np.concatenate([_resize(t, m.shape[:2]) for t, m in zip(parts[reference], maps, strict=True)])
        ours, theirs = ours - ours.mean(0), theirs - theirs.mean(0)
        scale = np.sqrt((ours**2).sum(0) * (theirs**2).sum(0)) + 1e-12
        found[name] = float(((ours * theirs).sum(0) / scale).mean())
    return found


def _aligned(
    features: Mapping[str, Sequence[FeatureMap]], reference: str, basis: Basis
) -> dict[str, list[NDArray[np.float64]]]:
    """Components (h, w, 3) by encoder, turned towards those of the reference."""
    groups: dict[object, list[str]] = {}
    for name, maps in features.items():
        groups.setdefault(maps[0].shape[-1] if basis == "shared" else name, []).append(name)
    pooled = {
        key: _components([part for name in names for part in _standardized(features[name])])
        for key, names in groups.items()
    }
    ours = next(key for key, names in groups.items() if reference in names)
    count = len(features[reference])
    start = groups[ours].index(reference) * count
    teacher = pooled[ours][start : start + count]
    found: dict[str, list[NDArray[np.float64]]] = {}
    for key, names in groups.items():
        parts = pooled[key]
        if key != ours:
            pairs = zip(teacher * len(names), parts, strict=True)
            target = np.concatenate([_resize(theirs, part.shape[:2]) for theirs, part in pairs])
            left, _, right = np.linalg.svd(np.concatenate([part.reshape(-1, 3) for part in parts]).T @ target)
            parts = [part @ (left @ right) for part in parts]
        found |= {name: parts[place * count : (place + 1) * count] for place, name in enumerate(names)}
    return {name: found[name] for name in features}


def _standardized(maps: Sequence[FeatureMap]) -> list[NDArray[np.float64]]:
    """Centred, with a mean squared norm of 1: in a shared basis the encoder with the longest tokens would decide."""
    tokens = np.concatenate([part.reshape(-1, part.shape[-1]) for part in maps]).astype(np.float64)
    mean = tokens.mean(0)
    scale = np.sqrt(((tokens - mean) ** 2).sum(1).mean()) + 1e-12
    return [(part - mean) / scale for part in maps]


def _components(maps: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Three principal components (h, w, 3) with unit variance over all maps; their signs are fixed by a rule."""
    tokens = np.concatenate([part.reshape(-1, part.shape[-1]) for part in maps]).astype(np.float64)
    mean = tokens.mean(0)
    # eigenvectors of the covariance: the same as the tokens' singular vectors, whatever the number of images
    _, basis = np.linalg.eigh((tokens - mean).T @ (tokens - mean))
    basis = basis.T[:-4:-1]
    basis = basis * np.sign(basis[np.arange(3), np.abs(basis).argmax(1)])[:, None]
    scale = ((tokens - mean) @ basis.T).std(0) + 1e-12
    return [((part - mean) @ basis.T) / scale for part in maps]


def _resize(part: NDArray[np.float64], grid: tuple[int, ...]) -> NDArray[np.float64]:
    """(h, w, 3) to another grid, bilinear, as tokens (h' w', 3)."""
    resized = F.interpolate(torch.from_numpy(part).permute(2, 0, 1)[None], size=grid[:2], mode="bilinear")
    return resized[0].permute(1, 2, 0).reshape(-1, 3).numpy()
