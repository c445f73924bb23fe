"""Masks that limit what a head's queries see in training: how often, whose, and what is left of them at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from gkd_lightning.encoders import Joining, Looking, build_encoder
from gkd_lightning.segment import EncoderOnlyHead, Moment, load_segmenter
from gkd_lightning.segment.annealed_masks import OwnMaps, Prediction, mask_probability, seen_patches
from gkd_lightning.segment.mask2former import HeadOutput
from tests.segment.fake import SPEC, FakeData
from tests.segment.test_encoder_only_head import head, images
from tests.segment.test_module import Losses, module, trainer


def test_masks_go_block_after_block() -> None:
    """Four blocks: sixths of the training, as in the authors' configurations."""
    sixths = {
        0: [1, 1, 1, 1],
        1: [1, 1, 1, 1],
        1.5: [0.5**0.9, 1, 1, 1],
        2: [0, 1, 1, 1],
        2.75: [0, 0.25**0.9, 1, 1],
        4.5: [0, 0, 0, 0.5**0.9],
        5: [0, 0, 0, 0],
        5.9: [0, 0, 0, 0],
    }
    for sixth, wanted in sixths.items():
        assert [mask_probability(sixth / 6, block, 4) for block in range(4)] == pytest.approx(wanted, abs=1e-9)


def prediction(batch: int = 2, queries: int = 50) -> Prediction:
    generator = torch.Generator().manual_seed(1)
    return Prediction(
        torch.zeros(batch, queries, 4),
        torch.randn(batch, queries, 8, generator=generator),
        torch.randn(batch, 8, 6, 4, generator=generator),
    )


def test_a_query_sees_the_patches_of_its_mask_or_all() -> None:
    said, keys = prediction(), torch.tensor([7, 8])
    masks = torch.einsum("bqc,bchw->bqhw", said.embeddings, said.pixels)
    small = torch.nn.functional.interpolate(masks, (3, 2), mode="bilinear", align_corners=False)
    wanted = (small > 0).flatten(2)
    assert seen_patches(said, (3, 2), keys, 0.0) is None
    always, often = seen_patches(said, (3, 2), keys, 1.0), seen_patches(said, (3, 2), keys, 0.3)
    assert always is not None
    assert often is not None
    assert always.equal(wanted)
    free = (often != wanted).any(-1)
    assert often[free].all()
    assert often[~free].equal(wanted[~free])
    assert 0.5 < free.float().mean() < 0.9  # of 100 queries, 7 tenths are free, but for those whose mask is everything


def test_the_draws_are_those_of_the_sample() -> None:
    said, keys = prediction(), torch.tensor([7, 8])
    both = seen_patches(said, (3, 2), keys, 0.5)
    alone = seen_patches(Prediction(*(part[1:] for part in said)), (3, 2), keys[1:], 0.5)
    other = seen_patches(said, (3, 2), torch.tensor([7, 9]), 0.5)
    assert both is not None
    assert alone is not None
    assert other is not None
    assert both[1:].equal(alone)
    assert both[0].equal(other[0])
    assert not both[1].equal(other[1])


def test_predictions_with_maps_of_their_own() -> None:
    """As those with one map where all maps are that one; and each with its own where they differ."""
    generator = torch.Generator().manual_seed(2)
    classes, embeddings = torch.zeros(3, 2, 5, 4), torch.randn(3, 2, 5, 8, generator=generator)
    pixels = torch.randn(3, 2, 8, 6, 4, generator=generator)
    image, queries, counts = torch.tensor([0, 0, 1]), torch.randint(0, 5, (3, 3), generator=generator), [2, 1]
    own = OwnMaps.of([Prediction(*parts) for parts in zip(classes, embeddings, pixels, strict=True)])
    for layer in range(3):
        one = HeadOutput(classes, embeddings, pixels[layer])
        torch.testing.assert_close(own.masks(layer), one.masks(layer))
        chosen = own.chosen_masks(image, queries, counts)
        torch.testing.assert_close(chosen[:, layer], one.chosen_masks(image, queries, counts)[:, layer])
    assert own.masks(-1).equal(own.masks(2))
    assert own.masks_of(slice(1, 3)).equal(torch.stack([own.masks(1), own.masks(2)], dim=1))


@pytest.mark.parametrize("tokens", ["few, plain", "many, fused"])
def test_attention_inside_a_mask_by_hand(tokens: str) -> None:
    """Every softmax of a query over what it sees, one by one; the image's tokens attend to all, queries to queries."""
    encoder = build_encoder(SPEC).eval()
    size = (32, 48) if "few" in tokens else (96, 96)
    pictures = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
    rows, columns = size[0] // 8, size[1] // 8
    seen = torch.rand(2, 3, rows * columns, generator=torch.Generator().manual_seed(3)) < 0.3
    seen[0, 1] = False  # an empty mask: other queries and the class token alone
    inputs: list[Tensor] = []
    block = encoder.model.blocks[3]
    block.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))

    def looking(index: int, maps: Tensor, queries: Tensor) -> Looking:
        assert (index, tuple(maps.shape), tuple(queries.shape)) == (0, (2, 24, rows, columns), (2, 3, 24))
        return Looking(seen, index)

    with torch.no_grad():
        found, _ = encoder(pictures, [3], joining=Joining(torch.randn(3, 24), 1, looking))
        assert found.told == (0,)
        given = inputs[0]
        normed, attention = block.norm1(given), block.attn
        query, key, value = attention.qkv(normed).unflatten(2, (3, 2, 12)).permute(2, 0, 3, 1, 4)
        attended = torch.empty_like(query)
        for image in range(2):
            for token in range(given.shape[1]):
                sees = torch.ones(given.shape[1], dtype=torch.bool)
                if token >= given.shape[1] - 3:
                    sees[1:-3] = seen[image, token - given.shape[1] + 3]
                for one in range(2):
                    shares = (key[image, one, sees] @ query[image, one, token] * 12**-0.5).softmax(0)
                    attended[image, one, token] = shares @ value[image, one, sees]
        hidden = given + attention.proj(attended.transpose(1, 2).flatten(2))
        expected = hidden + block.mlp(block.norm2(hidden))
    torch.testing.assert_close(found.joined[0], expected[:, -3:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.patches, encoder.model.norm(expected[:, 1:-3]), atol=1e-5, rtol=1e-5)


def test_what_is_left_at_the_end_is_the_head_in_use() -> None:
    model = module(head=head(annealed_masks=True))
    keys = torch.tensor([7, 8])
    with torch.no_grad():
        first, last, used = (
            model.segmenter.passed(images(), moment=moment).output
            for moment in (Moment(keys, 0.0), Moment(keys, 0.9), None)
        )
        unlimited = model.segmenter.head.joining_at(Moment(keys, 0.0))._replace(looking=None)
    assert unlimited == model.segmenter.head.joining
    assert first.classes.shape[0] == last.classes.shape[0] == 3  # before both blocks, and after the last
    assert used.classes.shape[0] == 2
    assert last.classes[1:].equal(used.classes)
    assert last.masks(-1).allclose(used.masks(-1), atol=1e-6)
    assert first.classes[0].equal(last.classes[0])
    assert not first.classes[1].allclose(last.classes[1], atol=1e-4)  # the first block's masks count


def test_a_training_without_them_is_as_it_was() -> None:
    model = module(head=head())
    with torch.no_grad():
        step = model.segmenter.passed(images(), moment=Moment(torch.tensor([7, 8]), 0.0)).output
        used = model.segmenter.passed(images()).output
    assert type(step) is HeadOutput
    assert step.classes.equal(used.classes)


def test_all_learns_and_the_checkpoint_resumes_exactly(tmp_path: Path) -> None:
    """Eight steps in four parts: the checkpoint lies where the first block's masks are half gone."""
    options = {"max_steps": 8, "limit_val_batches": 0}
    keep = ModelCheckpoint(tmp_path, every_n_train_steps=3, save_top_k=-1, filename="{step}")
    reference = module(head=head(annealed_masks=True))
    trainer(tmp_path, callbacks=[keep], enable_checkpointing=True, **options).fit(reference, FakeData())
    assert all(parameter.grad is not None for parameter in reference.segmenter.head.parameters())
    resumed = module(head=head(annealed_masks=True))
    trainer(tmp_path, **options).fit(resumed, FakeData(), ckpt_path=tmp_path / "step=3.ckpt")
    for key, value in reference.state_dict().items():
        assert value.equal(resumed.state_dict()[key]), key
    loaded = load_segmenter(reference.export(tmp_path / "out", {})).segmenter
    assert isinstance(loaded.head, EncoderOnlyHead)
    assert loaded.head.annealed_masks
    with torch.no_grad():
        assert loaded.scores(images()).equal(reference.eval().segmenter.scores(images()))


@pytest.mark.parametrize("ways", [{}, {"freeze_encoder": False}], ids=["frozen", "whole"])
def test_two_ranks_train_like_one(tmp_path: Path, ways: dict[str, Any]) -> None:
    curves = []
    for name, options in (("one", {}), ("two", {"devices": 2, "strategy": "ddp_fork"})):
        losses = Losses(tmp_path / f"{name}.pt")
        options = {"callbacks": [losses], "limit_val_batches": 0, "use_distributed_sampler": False, **options}
        trainer(tmp_path, max_steps=4, **options).fit(module(head=head(annealed_masks=True), **ways), FakeData())
        curves.append(torch.load(tmp_path / f"{name}.pt"))
    torch.testing.assert_close(curves[1], curves[0], atol=1e-4, rtol=1e-4)
