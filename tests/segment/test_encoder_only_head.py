"""Queries in the encoder's last blocks instead of a decoder: what learns, what is saved, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gkd_lightning.encoders import EncoderSpec, Frozen, Joining, Refinement, build_encoder
from gkd_lightning.errors import UserError
from gkd_lightning.segment import EncoderOnlyHead, Level, Segmenter, build_head, load_segmenter
from tests.segment.fake import SPEC, FakeData
from tests.segment.test_module import Losses, module, trainer


def head(**changes: Any) -> EncoderOnlyHead:
    return EncoderOnlyHead(**{"queries": 6, "blocks": 2, "doublings": 1, "points": 40, **changes})


def images(count: int = 2) -> Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))


def test_masks_and_classes_of_queries() -> None:
    torch.manual_seed(0)
    made = build_head(head(doublings=2), [24] * 4, 3)
    joining = made.joining
    assert isinstance(joining, Joining)
    assert (tuple(joining.queries.shape), joining.blocks) == ((6, 24), 2)
    maps, joined = torch.randn(2, 24, 3, 5), torch.randn(2, 2, 6, 24)
    output = made([Level(torch.randn(2, 24, 3, 5))] * 3 + [Level(maps, 0.5)], joined.unbind())
    assert tuple(output.classes.shape) == (2, 2, 6, 4)
    assert tuple(output.masks(-1).shape) == (2, 6, 12, 20)
    with torch.no_grad():
        states = torch.nn.functional.layer_norm(joined[1], (24,))
        torch.testing.assert_close(output.classes[1], made.class_predictor(states))
        torch.testing.assert_close(output.embeddings[1], made.mask_embedder(states))
        still = made([Level(maps)] * 4, (joined[0], joined[0]))
    assert still.pixels.equal(output.pixels)  # of the last level alone, as the encoder gave it
    assert not still.classes[1].equal(output.classes[1])


def test_a_frozen_encoder_stays_and_the_queries_learn_through_it(tmp_path: Path) -> None:
    model = module(head=head())
    before = {key: value.clone() for key, value in model.encoder.state_dict().items()}
    queries = model.segmenter.head.query.weight.detach().clone()
    trainer(tmp_path, max_steps=3, limit_val_batches=0).fit(model, FakeData())
    assert all(value.equal(before[key]) for key, value in model.encoder.state_dict().items())
    assert not any(parameter.requires_grad for parameter in model.encoder.parameters())
    assert not any(part.training for part in model.train().encoder.modules())
    assert all(parameter.grad is not None for parameter in model.segmenter.head.parameters())
    assert ((model.segmenter.head.query.weight - queries).abs() > 0).any(-1).all()


def test_it_learns(tmp_path: Path) -> None:
    losses = Losses(tmp_path / "losses.pt")
    trainer(tmp_path, callbacks=[losses], max_steps=30, limit_val_batches=0).fit(
        module(head=head(), lr=3e-3), FakeData()
    )
    assert torch.stack(losses.values[-3:]).mean() < 0.75 * torch.stack(losses.values[:3]).mean()


@pytest.mark.parametrize("freeze", [True, False])
def test_it_is_saved_and_loaded(tmp_path: Path, freeze: bool) -> None:
    model = module(head=head(), freeze_encoder=freeze, lr=1e-2)
    trainer(tmp_path, max_steps=2, limit_val_batches=0).fit(model, FakeData())
    weights = model.export(tmp_path / "out", {})
    loaded = load_segmenter(weights)
    settings = {"queries": 6, "blocks": 2, "doublings": 1, "points": 40, "annealed_masks": False}
    assert loaded.record["head"]["init_args"] == settings
    pictures = torch.randint(0, 256, (1, 3, 40, 56), dtype=torch.uint8)
    with torch.no_grad():
        wanted, found = model.eval().segmenter.scores(pictures), loaded.segmenter.scores(pictures)
    assert tuple(found.shape) == (1, 3, 40, 56)
    assert found.equal(wanted)
    assert not any(parameter.requires_grad for parameter in loaded.segmenter.parameters())


@pytest.mark.parametrize("ways", [{}, {"last_blocks": 1}, {"freeze_encoder": False}])
def test_two_ranks_train_like_one(tmp_path: Path, ways: dict[str, Any]) -> None:
    curves = []
    for name, options in (("one", {}), ("two", {"devices": 2, "strategy": "ddp_fork"})):
        losses = Losses(tmp_path / f"{name}.pt")
        options = {"callbacks": [losses], "limit_val_batches": 0, "use_distributed_sampler": False, **options}
        trainer(tmp_path, max_steps=3, **options).fit(module(head=head(), **ways), FakeData())
        curves.append(torch.load(tmp_path / f"{name}.pt"))
    torch.testing.assert_close(curves[1], curves[0], atol=1e-4, rtol=1e-4)


def test_the_wrapper_of_a_frozen_encoder_lets_gradients_through() -> None:
    segmenter = Segmenter.for_encoder(Frozen(build_encoder(SPEC)), 3, head())
    segmenter(images()).classes.sum().backward()
    assert segmenter.head.query.weight.grad.abs().sum() > 0
    assert isinstance(segmenter.encoder, Frozen)
    assert not any(key.startswith("encoder.") for key in segmenter.state_dict())


EVA = EncoderSpec(
    "eva02_tiny_patch14_224", image_size=32, patch_size=8, options={"embed_dim": 48, "depth": 4, "num_heads": 2}
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": EVA}, "head: queries join .* plain vision transformer, and eva02_tiny_patch14_224 is none"),
        ({"encoder": EncoderSpec("convnext_atto", image_size=32)}, "head: queries join .*, and convnext_atto is none"),
        ({"head": head(blocks=5)}, "head.blocks: 5, but vit_tiny_patch16_224 has 4"),
        ({"blocks": [0, 1, 2, 2]}, "must end with the last block, 3"),
        ({"refinement": Refinement(5, 2)}, "head, refinement: .*give one of them"),
    ],
)
def test_mistakes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        module(**{"head": head(), **changes})


@pytest.mark.parametrize("wrong", [{"blocks": 0}, {"queries": 0}, {"doublings": -1}])
def test_numbers_have_ranges(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=f"{next(iter(wrong))}: "):
        head(**wrong)
