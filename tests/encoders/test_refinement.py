"""Learned tokens between a frozen transformer's blocks: their maths, their start, where they are refused."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gkd_lightning.encoders import EncoderSpec, Refinement, add_refinement, build_encoder, compile_blocks, refinement_of
from gkd_lightning.encoders.refinement import TokenRefinement
from gkd_lightning.errors import UserError
from tests.segment.fake import SPEC

SMALL = {"embed_dim": 48, "depth": 4, "num_heads": 2}
KINDS = {
    "vit": SPEC,
    "without a class token": replace(SPEC, options={**SPEC.options, "class_token": False}),
    "registers": replace(SPEC, options={**SPEC.options, "reg_tokens": 4}),
    "eva02": EncoderSpec("eva02_tiny_patch14_224", image_size=32, patch_size=8, options=SMALL),
}


def images(count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)


def perturb(network: torch.nn.Module) -> None:
    """As a training could have left it."""
    with torch.no_grad():
        network.get_submodule("model.refinement").output.weight.normal_(std=0.05)


def test_two_patches_by_hand() -> None:
    """D = 1, m = 2: T = (0, ln 3) and f = (1, -1) give the second token 3/4 and 1/4; value 2x + 1, output 10x + 3."""
    shared = TokenRefinement(1, 1, Refinement(tokens=2, rank=1))
    tokens = torch.tensor([[0.0], [torch.tensor(3.0).log()]])
    with torch.no_grad():
        for layer, weight, bias in ((shared.value, 2.0, 1.0), (shared.output, 10.0, 3.0)):
            layer.weight.fill_(weight)
            layer.bias.fill_(bias)
        added = shared(torch.tensor([[[1.0], [-1.0]]]), tokens)
    value = 2 * 1.0986123 + 1
    wanted = [10 * (0.75 * value + 1) + 3, 10 * (0.25 * value - 1) + 3]
    torch.testing.assert_close(added.flatten(), torch.tensor(wanted))


def test_the_width_cools_the_shares() -> None:
    """D = 4: f T^T / sqrt(D) = ln 3 where f T^T = 2 ln 3."""
    shared = TokenRefinement(4, 0, Refinement(tokens=2, rank=1))
    torch.nn.init.eye_(shared.output.weight)
    torch.nn.init.zeros_(shared.value.weight)
    torch.nn.init.ones_(shared.value.bias)
    tokens = torch.tensor([[0.0] * 4, [2 * torch.tensor(3.0).log(), 0.0, 0.0, 0.0]])
    patch = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    with torch.no_grad():
        torch.testing.assert_close(shared(patch, tokens) - patch, torch.full((1, 1, 4), 0.75))


@pytest.mark.parametrize("kind", KINDS)
def test_it_starts_as_the_frozen_encoder_bit_for_bit(kind: str) -> None:
    plain = build_encoder(KINDS[kind]).eval()
    refined = copy.deepcopy(plain)
    drawn = torch.get_rng_state()
    names = add_refinement(refined, Refinement(tokens=5, rank=2))
    assert torch.get_rng_state().equal(drawn)  # a head that is drawn next is the frozen run's
    assert names == ["model.refinement", *(f"model.blocks.{index}.refining_tokens" for index in range(4))]
    with torch.no_grad():
        wanted, found = plain(images(), [0, 1, 2, 3]), refined(images(), [0, 1, 2, 3])
    for one, other in zip(
        [wanted[0].cls, wanted[0].patches, *wanted[1]], [found[0].cls, found[0].patches, *found[1]], strict=True
    ):
        assert one.equal(other)


@pytest.mark.parametrize("kind", KINDS)
def test_every_block_passes_refined_patches_on_and_other_tokens_as_they_are(kind: str) -> None:
    encoder = build_encoder(KINDS[kind]).eval()
    before: dict[int, Tensor] = {}
    after: dict[int, Tensor] = {}
    blocks = list(encoder.model.blocks)
    for index, block in enumerate(blocks):
        block.register_forward_hook(lambda _, __, output, index=index: before.update({index: output}))
    add_refinement(encoder, Refinement(tokens=5, rank=2))
    perturb(encoder)
    for index, block in enumerate(blocks):
        block.register_forward_hook(lambda _, __, output, index=index: after.update({index: output}))
    inputs: dict[int, Tensor] = {}
    for index, block in enumerate(blocks):
        block.register_forward_pre_hook(lambda _, given, index=index: inputs.update({index: given[0]}))
    with torch.no_grad():
        _, maps = encoder(images(), [0, 1, 2, 3])
        prefix, shared = encoder.model.num_prefix_tokens, encoder.model.refinement
        for index, block in enumerate(blocks):
            tokens = block.refining_tokens.a @ block.refining_tokens.b
            patches = before[index][:, prefix:]
            torch.testing.assert_close(after[index][:, prefix:], patches + shared(patches, tokens))
            assert not after[index][:, prefix:].allclose(patches, atol=1e-4)
            assert after[index][:, :prefix].equal(before[index][:, :prefix])
            assert maps[index].flatten(2).mT.equal(after[index][:, prefix:])
            assert index == 3 or inputs[index + 1].equal(after[index])


def test_a_copy_is_its_own() -> None:
    """Hooks of a copy refine with the copy's weights, also on another device or dtype."""
    encoder = build_encoder(SPEC).eval()
    add_refinement(encoder, Refinement(tokens=5, rank=2))
    with torch.no_grad():
        before = encoder.tokens(images()).patches
        other = copy.deepcopy(encoder)
        perturb(other)
        assert encoder.tokens(images()).patches.equal(before)
        assert not other.tokens(images()).patches.allclose(before, atol=1e-3)
    assert refinement_of(other) == Refinement(tokens=5, rank=2)
    assert refinement_of(build_encoder(SPEC)) is None


@pytest.mark.slow
def test_compiled_blocks_share_one_compilation() -> None:
    encoder = build_encoder(SPEC).eval()
    add_refinement(encoder, Refinement(tokens=5, rank=2))
    perturb(encoder)
    with torch.no_grad():
        wanted = encoder.tokens(images()).patches
        compile_blocks(encoder, device=torch.device("cpu"))
        torch._dynamo.utils.counters.clear()
        found = encoder.tokens(images()).patches
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] < 4  # not one for every block: torch allows eight


def test_it_learns_as_many_parameters_as_the_paper_counts() -> None:
    """DINOv2-L, Table 6's 2.99 M without the 0.46 M that link 256-wide queries to the tokens."""
    with torch.device("meta"):
        encoder = build_encoder(EncoderSpec("vit_large_patch14_dinov2"))
        names = add_refinement(encoder, Refinement())
    count = sum(parameter.numel() for name in names for parameter in encoder.get_submodule(name).parameters())
    linking = 1024 * 256 + 256 + 3 * 256 * 256 + 256
    assert count == 24 * (100 * 16 + 16 * 1024) + 2 * (1024 * 1024 + 1024)
    assert round((count + linking) / 1e6, 2) == 2.99


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        (EncoderSpec("convnext_atto", image_size=32), {}, "refinement: convnext_atto is no plain transformer"),
        (EncoderSpec("samvit_base_patch16", image_size=64), {}, "refinement: samvit_base_patch16 is no plain"),
        (SPEC, {"tokens": 10, "rank": 11}, "refinement.rank: 11 is more than 10"),
        (SPEC, {"rank": 25}, "refinement.rank: 25 is more than 24"),
        (SPEC, {"tokens": 1, "rank": 1}, "tokens: 1; give a number at least 2"),
        (SPEC, {"rank": 0}, "rank: 0; give a number at least 1"),
    ],
)
def test_mistakes(spec: EncoderSpec, settings: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message), torch.device("meta"):
        add_refinement(build_encoder(spec), Refinement(**settings))
