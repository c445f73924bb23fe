from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gkd_lightning.encoders import EncoderSpec, build_encoder
from gkd_lightning.encoders.patch_projection import patch_products, project_by_product


@pytest.mark.parametrize("bias", [True, False])
def test_products_are_the_convolution(bias: bool) -> None:
    """In float64, for windows and images that are not square, and a rest that no window covers."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 8, (4, 6), (4, 6), bias=bias).double()
    images = torch.randn(2, 3, 13, 20, dtype=torch.float64, requires_grad=True)
    same = images.detach().clone().requires_grad_()
    expected = convolution(images)
    found = patch_products(same, convolution.weight, convolution.bias)
    assert found.shape == (2, 8, 3, 3)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    by_weight = torch.autograd.grad((expected * weights).sum(), (convolution.weight, images))
    torch.testing.assert_close(torch.autograd.grad((found * weights).sum(), (convolution.weight, same)), by_weight)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 8, 7, 4), nn.Conv2d(3, 8, 4, 4, padding=1), nn.Conv2d(4, 8, 4, 4, groups=2), nn.Linear(3, 8),
        nn.Conv2d(3, 8, 4, 4, dilation=2), nn.Identity(),
    ],
)  # fmt: skip
def test_other_layers_stay_as_they_are(layer: nn.Module) -> None:
    project_by_product(layer)
    assert "forward" not in vars(layer)


def test_a_copy_of_an_encoder_projects_with_its_own_weights() -> None:
    encoder = build_encoder(EncoderSpec("vit_tiny_patch16_224", image_size=32))
    copied = copy.deepcopy(encoder)
    projection = copied.get_submodule("model.patch_embed.proj")
    assert vars(projection)["forward"].__self__ is projection
    with torch.no_grad():
        projection.get_parameter("weight").zero_()
        projection.get_parameter("bias").zero_()
    images = torch.rand(1, 3, 32, 32)
    assert not projection(images).any()
    assert encoder.get_submodule("model.patch_embed.proj")(images).any()
