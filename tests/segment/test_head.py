import math

import pytest
import torch
from torch import Tensor
from transformers.models.mask2former import modeling_mask2former as stock

from gkd_bench.counting import HostReads
from gkd_lightning.encoders import EncoderSpec, build_encoder
from gkd_lightning.errors import UserError
from gkd_lightning.segment.head import Mask2FormerHead
from gkd_lightning.segment.lean import DeformableAttention, PointwiseConvolution
from gkd_lightning.segment.levels import levels_of
from gkd_lightning.segment.mask2former import OFFICIAL_HEAD, Mask2FormerConfig
from gkd_lightning.segment.pyramid import Level
from gkd_lightning.segment.segmenter import Segmenter

SMALL = Mask2FormerConfig(
    hidden_dim=32, encoder_layers=1, decoder_layers=2, heads=2, encoder_ffn=48, decoder_ffn=40, queries=7, points=30
)


def small_head(classes: int = 5) -> Mask2FormerHead:
    torch.manual_seed(0)
    return Mask2FormerHead([12] * 4, classes, SMALL)


def pyramid(batch: int = 2, dim: int = 12, rows: int = 4, columns: int = 6) -> list[Level]:
    torch.manual_seed(1)
    return [Level(torch.randn(batch, dim, int(rows * s), int(columns * s))) for s in (4, 2, 1, 0.5)]


def test_output_of_every_layer() -> None:
    output = small_head()(pyramid())
    assert output.classes.shape == (3, 2, 7, 6)
    assert [tuple(output.masks(layer).shape) for layer in range(3)] == [(2, 7, 16, 24)] * 3


def test_deformable_attention_equals_transformers() -> None:
    torch.manual_seed(0)
    shapes = [(2, 3), (4, 6), (8, 12)]
    count = sum(height * width for height, width in shapes)
    theirs = stock.Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention(32, 4, 3, 4)
    ours = DeformableAttention(32, 4, 3, 4)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    ours.load_state_dict(theirs.state_dict())
    reference = stock.Mask2FormerPixelDecoderEncoderOnly.get_reference_points(shapes, torch.ones(2, 3, 2), "cpu")
    levels = levels_of(tuple(shapes), 32, torch.device("cpu"), torch.float32)
    results = []
    for attention in (theirs, ours):
        torch.manual_seed(2)
        hidden, positions = (torch.randn(2, count, 32, requires_grad=True) for _ in range(2))
        if attention is ours:
            output = ours(hidden, positions, levels)
        else:
            output, _ = theirs(
                hidden_states=hidden,
                encoder_hidden_states=hidden,
                position_embeddings=positions,
                reference_points=reference,
                spatial_shapes_list=shapes,
            )
        output.square().mean().backward()
        gradients = [parameter.grad for parameter in attention.parameters()]
        results.append([output.detach(), hidden.grad, positions.grad, *gradients])
    for theirs_value, ours_value in zip(*results, strict=True):
        torch.testing.assert_close(ours_value, theirs_value, atol=2e-6, rtol=1e-4)


def test_pointwise_convolution_equals_torch() -> None:
    for bias in (True, False):
        torch.manual_seed(0)
        theirs = torch.nn.Conv2d(12, 8, 1, bias=bias)
        ours = PointwiseConvolution(12, 8, 1, bias=bias)
        ours.load_state_dict(theirs.state_dict())
        results = []
        for convolution in (theirs, ours):
            maps = pyramid()[0].map.requires_grad_()
            output = convolution(maps)
            output.square().mean().backward()
            results.append([output.detach(), maps.grad, *(parameter.grad for parameter in convolution.parameters())])
        for theirs_value, ours_value in zip(*results, strict=True):
            torch.testing.assert_close(ours_value, theirs_value, atol=1e-6, rtol=1e-5)


def test_sine_positions_equal_transformers() -> None:
    shapes, device = ((5, 7), (10, 14)), torch.device("cpu")
    levels = levels_of(shapes, 32, device, torch.float32)
    for ours, shape in zip(levels.positions.split(levels.sizes, 1), shapes, strict=True):
        size = torch.Size((3, 32, *shape))
        theirs = stock.Mask2FormerSinePositionEmbedding(16, normalize=True)(size, device, torch.float32)
        torch.testing.assert_close(ours.transpose(1, 2).unflatten(2, shape).expand_as(theirs), theirs, atol=0, rtol=0)


def test_positions_cached_in_validation_serve_training() -> None:
    head = small_head()
    with torch.inference_mode():
        head(pyramid(rows=6))
    head(pyramid(rows=6)).classes.sum().backward()


def test_every_parameter_is_used() -> None:
    head = small_head()
    output = head(pyramid())
    torch.stack([output.classes.sum(), *(output.masks(layer).sum() for layer in range(3))]).sum().backward()
    assert [name for name, parameter in head.named_parameters() if parameter.grad is None] == []


def test_the_device_is_never_asked_for_infinities() -> None:
    """transformers' layers do so in training mode; and nothing is dropped."""
    head = small_head().train()
    with HostReads() as reads:
        head(pyramid()).classes.sum().backward()
    assert reads.total == 0
    assert not [module for module in head.modules() if isinstance(module, torch.nn.Dropout) and module.p]


def test_initialisation_is_mmdetections() -> None:
    """Spreads of a normal-sized head; xavier_normal: std = sqrt(2 / (in + out)), uniform: bound / sqrt(3)."""
    torch.manual_seed(0)
    head = Mask2FormerHead([384] * 4, 19)
    pixels, decoder = head.pixel_decoder, head.transformer.decoder

    def close(weight: Tensor, std: float) -> None:
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.05)

    for embedding in (
        pixels.level_embed,
        head.transformer.level_embed.weight,
        head.transformer.queries_embedder.weight,
        head.transformer.queries_features.weight,
    ):
        assert float(embedding.detach().std()) == pytest.approx(1, rel=0.1)
    close(pixels.input_projections[0][0].weight, math.sqrt(2 / (384 + 256)))
    close(pixels.adapter_1[0].weight, math.sqrt(1 / 384))
    close(pixels.layer_1[0].weight, math.sqrt(1 / (9 * 256)))
    close(pixels.mask_projection.weight, math.sqrt(1 / 256))
    encoder_layer, decoder_layer = pixels.encoder.layers[3], decoder.layers[3]
    close(encoder_layer.fc1.weight, math.sqrt(2 / (256 + 1024)))
    close(encoder_layer.self_attn.value_proj.weight, math.sqrt(2 / 512))
    close(decoder_layer.cross_attn.in_proj_weight, math.sqrt(2 / (256 + 768)))
    close(decoder_layer.self_attn.k_proj.weight, math.sqrt(2 / (256 + 768)))
    close(decoder_layer.fc2.weight, math.sqrt(2 / (256 + 2048)))
    close(head.class_predictor.weight, math.sqrt(1 / (3 * 256)))  # torch's own default
    assert not encoder_layer.self_attn.sampling_offsets.weight.any()
    bias = encoder_layer.self_attn.sampling_offsets.bias.view(8, 3, 4, 2)
    torch.testing.assert_close(bias[0, 0], torch.tensor([[1.0, 0], [2, 0], [3, 0], [4, 0]]))
    assert float(bias.detach().abs().max()) == 4
    assert not decoder_layer.self_attn.q_proj.bias.any()
    assert not decoder_layer.cross_attn.in_proj_bias.any()


@pytest.mark.parametrize(
    ("name", "millions"),
    [("vit_small_patch14_dinov2", 41.9), ("vit_base_patch14_dinov2", 106.8), ("vit_large_patch14_dinov2", 324.8)],
)
def test_parameter_counts_of_the_paper(name: str, millions: float) -> None:
    with torch.device("meta"):
        encoder = build_encoder(EncoderSpec(name, image_size=512, patch_size=16))
        segmenter = Segmenter.for_encoder(encoder, 19, OFFICIAL_HEAD)
    count = sum(parameter.numel() for parameter in segmenter.parameters())
    assert round(count / 1e6, 1) == millions


def test_bf16_keeps_positions_exact() -> None:
    head = small_head().eval()
    with torch.no_grad():
        exact = head(pyramid())
        with torch.autocast("cpu", torch.bfloat16):
            rounded = head(pyramid())
    difference = (rounded.masks(0).float() - exact.masks(0)).abs().mean() / exact.masks(0).abs().mean()
    assert 0 < float(difference) < 0.02


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_dim": 48}, "multiple of 32"),
        ({"hidden_dim": 64, "heads": 3}, "heads"),
        ({"decoder_layers": 0}, "decoder_layers: 0"),
        ({"oversample": 0.5}, "oversample"),
        ({"importance": 1.5}, "importance"),
    ],
)
def test_impossible_sizes(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Mask2FormerHead([12] * 4, 5, Mask2FormerConfig(**change))


def test_four_maps_are_needed() -> None:
    with pytest.raises(UserError, match="four feature maps"):
        Mask2FormerHead([12, 12], 5, SMALL)
