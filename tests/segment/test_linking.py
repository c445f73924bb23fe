"""A head's queries made of a refined encoder's tokens: what says what, what learns, what is saved, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gkd_lightning.encoders import EncoderSpec, Frozen, Refinement, add_refinement, build_encoder, refinement_of
from gkd_lightning.errors import UserError
from gkd_lightning.segment import LinearHead, Mask2FormerConfig, Segmenter, load_segmenter
from tests.segment.fake import HEAD, FakeData
from tests.segment.test_module import module, trainer

LINKED = Refinement(tokens=6, rank=2, linked=True)


def images() -> Tensor:
    return torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("layers", [1, 0])
def test_the_head_says_what_it_would_with_these_queries(layers: int) -> None:
    model = module(refinement=LINKED, head=replace(HEAD, encoder_layers=layers)).eval()
    segmenter, own = model.segmenter, model.segmenter.head.linkable
    assert segmenter.link is not None
    with torch.no_grad():
        output = segmenter(images())
        pyramid = segmenter.pyramid(segmenter.encoder(images(), segmenter.blocks)[1])
        before = segmenter.head(pyramid)
        assert not before.classes[1:].allclose(output.classes[1:], atol=1e-4)
        own.copy_(segmenter.linked_queries())
        after = segmenter.head(pyramid)
    assert output.classes.equal(after.classes)
    assert output.embeddings.equal(after.embeddings)


def test_all_else_starts_as_without_a_link() -> None:
    linked, plain = (
        module(refinement=LINKED).state_dict(),
        module(refinement=replace(LINKED, linked=False)).state_dict(),
    )
    assert linked.keys() - plain.keys() == {
        f"segmenter.link.{layer}.{part}" for layer in ("project", "join") for part in ("weight", "bias")
    }
    assert all(value.equal(linked[key]) for key, value in plain.items())


def test_tokens_and_link_learn_and_the_heads_own_queries_do_not(tmp_path: Path) -> None:
    """Also the tokens of a block after the last one that the head looks at: queries are made of them."""
    model = module(refinement=LINKED, blocks=[0, 1, 2, 2])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trainer(tmp_path, max_steps=2, limit_val_batches=0).fit(model, FakeData())
    own = "segmenter.head.transformer.queries_embedder.weight"
    still = {key for key, value in model.state_dict().items() if value.equal(before[key])}
    assert still == {own}
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == before.keys() - {own}


def test_the_exported_segmenter_has_the_queries_as_its_own(tmp_path: Path) -> None:
    model = module(refinement=LINKED, lr=1e-2)
    trainer(tmp_path, max_steps=3, limit_val_batches=0).fit(model, FakeData())
    weights = model.export(tmp_path / "out", {})
    loaded = load_segmenter(weights).segmenter
    assert loaded.link is None
    assert refinement_of(loaded.encoder.module) == replace(LINKED, linked=False)
    assert json.loads(weights.with_name("segmenter.json").read_text())["refinement"] == {"tokens": 6, "rank": 2}
    assert loaded.head.linkable.equal(model.segmenter.linked_queries())
    with torch.no_grad():
        assert loaded.scores(images()).equal(model.eval().segmenter.scores(images()))


def test_it_learns_as_many_parameters_as_the_paper_counts() -> None:
    """DINOv2-L and 100 queries of 256, Table 6: 2.99 M, all of it."""
    with torch.device("meta"):
        encoder = build_encoder(EncoderSpec("vit_large_patch14_dinov2", image_size=28))
        names = add_refinement(encoder, Refinement(linked=True))
        segmenter = Segmenter.for_encoder(Frozen(encoder), 19, Mask2FormerConfig(encoder_layers=0, decoder_layers=1))
    assert segmenter.link is not None
    parts = [segmenter.link, *(encoder.get_submodule(name) for name in names)]
    assert sum(parameter.numel() for part in parts for parameter in part.parameters()) == 2_990_080


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"refinement": replace(LINKED, tokens=5)}, "refinement.tokens: 5 tokens are linked .* and head.queries is 6"),
        ({"head": LinearHead()}, "refinement.linked: LinearHead has no queries to link to the tokens; set it to false"),
    ],
)
def test_mistakes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        module(**{"refinement": LINKED, **changes})
