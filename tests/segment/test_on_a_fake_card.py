"""A card's autocast chooses other precisions than a processor's: every head, without a card."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gkd_lightning.encoders import Refinement, add_refinement, build_encoder, prepare_encoders
from gkd_lightning.precision import full_precision
from gkd_lightning.segment import EncoderOnlyHead, LinearHead, Mask2FormerConfig, Moment, SegformerHead, Segmenter
from gkd_lightning.segment.mask2former import HeadOutput
from tests.fake_card import fake_card, on_card
from tests.segment.fake import SPEC

_QUERIES: dict[str, Any] = {
    "hidden_dim": 32, "decoder_layers": 2, "heads": 2, "encoder_ffn": 32, "decoder_ffn": 32, "queries": 6, "points": 40,
}  # fmt: skip
HEADS = {
    "mask2former": lambda: Mask2FormerConfig(encoder_layers=1, **_QUERIES),
    "without deformable attention": lambda: Mask2FormerConfig(encoder_layers=0, **_QUERIES),
    "encoder only": lambda: EncoderOnlyHead(queries=6, blocks=2, doublings=1, points=40),
    "encoder only, within masks": lambda: EncoderOnlyHead(6, blocks=2, doublings=1, points=40, annealed_masks=True),
    "linear": lambda: LinearHead(),
    "segformer": lambda: SegformerHead(width=32),
}


@pytest.mark.parametrize("name", HEADS)
def test_what_a_head_says_and_its_masks(name: str) -> None:
    segmenter = Segmenter.for_encoder(build_encoder(SPEC), 3, HEADS[name](), window=32, stride=32)
    with fake_card():
        on_card(segmenter).train()
        prepare_encoders(segmenter.encoder, device=torch.device("cuda"), bf16=True, compile=False, written=True)
        images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8, device="cuda")
        output = segmenter.passed(images, moment=Moment(torch.arange(2), progress=0.0)).output
        if isinstance(output, HeadOutput):
            assert output.embeddings.dtype == output.pixels.dtype == torch.bfloat16
            with full_precision("cuda"):  # as losses are computed, where nothing is cast by itself
                assert output.masks_of(slice(0, 2)).shape == (2, 2, 6, *output.pixels.shape[-2:])
        labels = torch.zeros(2, 32, 32, dtype=torch.long, device="cuda")
        loss = segmenter.head.dry_loss(output, labels, torch.arange(2))
    assert (loss.dtype, loss.shape, loss.requires_grad) == (torch.float32, (), True)


def test_linked_queries_are_made_in_full_precision() -> None:
    encoder = build_encoder(SPEC)
    add_refinement(encoder, Refinement(tokens=6, rank=2, linked=True))
    segmenter = Segmenter.for_encoder(encoder, 3, HEADS["mask2former"](), window=32, stride=32)
    with fake_card():
        on_card(segmenter).train()
        queries = segmenter.linked_queries()
        output = segmenter.passed(torch.zeros(2, 3, 32, 32, dtype=torch.uint8, device="cuda")).output
    assert queries is not None
    assert queries.dtype == torch.float32
    assert output.embeddings.dtype == torch.bfloat16
