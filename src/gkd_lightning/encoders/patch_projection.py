"""The patch embedding of a transformer, which timm writes as a convolution, as the matrix product that it is."""

from __future__ import annotations

from types import MethodType

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def project_by_product(convolution: nn.Module) -> None:
    """Let a convolution whose windows do not overlap compute a matrix product on a GPU, in place.

    cuDNN's own kernels for three channels take 5 to 20 times as long there, and in fp32 they compute in TF32. Other
    layers than such a convolution stay as they are, and so do all names.
    """
    if type(convolution) is not nn.Conv2d or convolution.groups != 1 or convolution.padding_mode != "zeros":
        return
    plain = not any(convolution.padding) and set(convolution.dilation) == {1}
    if plain and convolution.kernel_size == convolution.stride:
        convolution.__dict__["forward"] = MethodType(_project, convolution)


def _project(convolution: nn.Conv2d, images: Tensor) -> Tensor:
    if images.device.type != "cuda":
        return nn.Conv2d.forward(convolution, images)
    if torch.is_autocast_enabled("cuda"):
        images = images.to(torch.get_autocast_dtype("cuda"))  # before the patches are copied, and not after it
    return patch_products(images, convolution.weight, convolution.bias)


def patch_products(images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(B, C, H, W) images and (D, C, p, q) weights to (B, D, H // p, W // q), as a convolution of stride (p, q)."""
    channels, height, width = weight.shape[1:]
    rows, columns = images.shape[2] // height, images.shape[3] // width
    images = images[:, :, : rows * height, : columns * width]
    patches = images.unflatten(3, (columns, width)).unflatten(2, (rows, height)).permute(0, 2, 4, 1, 3, 5)
    flat = patches.reshape(len(images), rows * columns, channels * height * width)
    maps: Tensor = F.linear(flat, weight.flatten(1), bias).transpose(1, 2).unflatten(2, (rows, columns))
    return maps
