"""An encoder that is neither frozen nor trained as a whole: what learns, what is saved, what is handed on."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, ModelSummary
from torch import Tensor, nn

from gkd_lightning.encoders import (
    EncoderSpec,
    Frozen,
    LowRank,
    PartlyFrozen,
    Refinement,
    add_low_rank,
    build_encoder,
    merged,
    refinement_of,
)
from gkd_lightning.encoders.low_rank import LowRankLinear
from gkd_lightning.errors import UserError
from gkd_lightning.segment import TaskLearning, load_segmenter
from gkd_lightning.segment.encoder_training import prepared_encoder
from tests.segment.fake import SPEC, FakeData
from tests.segment.test_module import Losses, WithDistillation, module, trainer

LAST: dict[str, Any] = {"last_blocks": 2}
LOW: dict[str, Any] = {"low_rank": LowRank(rank=3, alpha=6)}
MINOR: dict[str, Any] = {"low_rank": LowRank(rank=3, alpha=6, start="minor")}
REFINED: dict[str, Any] = {"refinement": Refinement(tokens=5, rank=2)}
WAYS = [pytest.param(LAST, id="last_blocks"), pytest.param(LOW, id="low_rank"), pytest.param(MINOR, id="minor")]
WAYS.append(pytest.param(REFINED, id="refinement"))
WAYS.append(pytest.param({"refinement": Refinement(tokens=6, rank=2, linked=True)}, id="linked"))
SMALL = {"embed_dim": 48, "depth": 4, "num_heads": 2}
KINDS = {
    "vit": SPEC,
    "eva02, fused": EncoderSpec("eva02_tiny_patch14_224", image_size=32, patch_size=8, options=SMALL),
    "eva02, split": EncoderSpec("eva02_base_patch14_224", image_size=32, patch_size=8, options=SMALL),
}


def images(count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)


def moved(model: TaskLearning, before: dict[str, Tensor]) -> set[str]:
    return {key for key, value in model.encoder.state_dict().items() if not value.equal(before[key])}


def snapshot(model: TaskLearning) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.encoder.state_dict().items()}


def perturbed(network: nn.Module) -> nn.Module:
    """Additions as a training could have left them."""
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("update.b"):
                parameter.normal_(std=0.05)
    return network


def test_the_last_blocks_learn_and_nothing_before_them(tmp_path: Path) -> None:
    model = module(**LAST, encoder_lr_scale=0.1)
    before, run = snapshot(model), trainer(tmp_path, limit_val_batches=0)
    run.fit(model, FakeData())
    changed = moved(model, before)
    assert changed == {key for key in before if key.startswith(("model.blocks.2.", "model.blocks.3."))}
    for name, parameter in model.encoder.named_parameters():
        assert parameter.requires_grad == (name in changed), name
        assert (parameter.grad is not None) == (name in changed), name
    assert [block.training for block in model.encoder.model.blocks] == [False, False, True, True]
    assert run.optimizers[0].param_groups[2]["initial_lr"] == pytest.approx(1e-4)
    assert len(run.optimizers[0].param_groups[2]["params"]) == len(changed)


def test_frozen_blocks_keep_no_graph() -> None:
    model = module(last_blocks=1)
    maps = model.segmenter.encoder(images(), [0, 1, 2, 3])[1]
    assert [each.requires_grad for each in maps] == [False, False, False, True]

    def saved_bytes(**how: Any) -> int:
        total = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal total
            total += tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            module(**how).segmenter.encoder(images(), [3])
        return total

    last, all_four = saved_bytes(last_blocks=1), saved_bytes(freeze_encoder=False)
    assert 0 < last < all_four / 3
    assert saved_bytes() == 0


def test_only_what_learns_is_in_training_mode() -> None:
    for ways, learning in ((LAST, ("model.blocks.2", "model.blocks.3", "model.norm")), (LOW, None)):
        model = module(**ways).train()
        names = {name for name, part in model.encoder.named_modules() if part.training}
        expected = {
            name
            for name, _ in model.encoder.named_modules()
            if (f"{name}.".startswith(tuple(f"{part}." for part in learning)) if learning else ".update" in name)
        }
        assert names == expected
        assert expected
        assert not any(part.training for part in model.eval().modules())


@pytest.mark.parametrize("kind", KINDS)
def test_low_rank_starts_as_the_frozen_encoder_bit_for_bit(kind: str) -> None:
    torch.manual_seed(0)
    plain = build_encoder(KINDS[kind])
    torch.manual_seed(0)
    adapted = build_encoder(KINDS[kind])
    drawn = torch.get_rng_state()
    updates = add_low_rank(adapted, LowRank(rank=3))
    assert torch.get_rng_state().equal(drawn)  # a head that is drawn next is the frozen run's
    assert len(updates) == 4 * (4 if "split" in kind else 2)  # q, k, v and proj, or qkv and proj
    with torch.no_grad():
        for one, other in zip(plain.eval()(images(), [0, 3]), adapted.eval()(images(), [0, 3]), strict=True):
            assert all(a.equal(b) for a, b in zip(one, other, strict=True) if isinstance(a, Tensor))


@pytest.mark.parametrize("kind", KINDS)
def test_minor_components_learn_and_start_as_the_frozen_encoder(kind: str) -> None:
    """The addition holds the smallest singular values of each weight, the frozen rest the largest."""
    adapted = build_encoder(KINDS[kind]).eval()
    plain = copy.deepcopy(adapted)
    add_low_rank(adapted, LowRank(rank=3, start="minor"))
    with torch.no_grad():
        wanted, found = plain.tokens(images()).patches, adapted.tokens(images()).patches
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    layers = {name: layer for name, layer in adapted.named_modules() if isinstance(layer, LowRankLinear)}
    assert layers
    for name, layer in layers.items():
        values = torch.linalg.svdvals(plain.get_parameter(f"{name}.weight").double())
        minor = torch.linalg.svdvals(layer.update.weight().double())
        rest = torch.linalg.svdvals(layer.original.weight.double())
        assert values[-3] > 1e-4, "a weight without small components would prove nothing"
        torch.testing.assert_close(minor[:3], values[-3:], atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(rest[:-3], values[:-3], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_merged_is_what_was_adapted_and_looks_like_any_encoder(kind: str) -> None:
    adapted = build_encoder(KINDS[kind]).eval()
    with torch.no_grad():
        before = adapted.tokens(images()).patches
    add_low_rank(adapted, LowRank(rank=3))
    perturbed(adapted)
    plain = merged(adapted)
    with torch.no_grad():
        wanted, found = adapted.tokens(images()).patches, plain.tokens(images()).patches
    assert (wanted - before).abs().max() > 1e-2
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)
    assert plain.state_dict().keys() == build_encoder(KINDS[kind]).state_dict().keys()
    assert plain.model is not adapted.model
    assert merged(plain) is plain


def test_the_first_loss_is_that_of_a_frozen_encoder(tmp_path: Path) -> None:
    curves = []
    for name, ways in (("frozen", {}), ("low", LOW), ("refined", REFINED)):
        losses = Losses(tmp_path / name)
        trainer(tmp_path, callbacks=[losses], limit_val_batches=0).fit(module(**ways), FakeData())
        curves.append(torch.stack(losses.values))
    for curve in curves[1:]:
        assert curve[0].equal(curves[0][0])
        assert not curve[2:].equal(curves[0][2:])


def test_additions_alone_learn_at_their_own_rate(tmp_path: Path) -> None:
    model = module(**LOW, encoder_lr_scale=0.5)
    before, run = snapshot(model), trainer(tmp_path, limit_val_batches=0)
    assert ModelSummary()._summary(run, model).trainable_parameters == trainable(model)
    run.fit(model, FakeData())
    changed = moved(model, before)
    assert changed == {key for key in before if ".update." in key}
    assert len(changed) == 2 * 2 * 4
    assert all(
        (parameter.grad is not None) == (name in changed) for name, parameter in model.encoder.named_parameters()
    )
    groups = run.optimizers[0].param_groups
    assert [group["initial_lr"] for group in groups] == pytest.approx([1e-3, 1e-3, 5e-4])
    assert len(groups[2]["params"]) == len(changed)
    low = 3 * 4 * ((24 + 72) + (24 + 24))  # rank, blocks, inputs and outputs of qkv and proj
    assert trainable(model) == trainable(module()) + low


def test_a_refinement_alone_learns_at_its_own_rate(tmp_path: Path) -> None:
    model = module(**REFINED, encoder_lr_scale=0.5)
    before, run = snapshot(model), trainer(tmp_path, limit_val_batches=0)
    run.fit(model, FakeData())
    own = {key for key in before if ".refin" in key}
    assert moved(model, before) == own
    assert len(own) == 2 * 4 + 4
    assert all((parameter.grad is not None) == (name in own) for name, parameter in model.encoder.named_parameters())
    assert [group["initial_lr"] for group in run.optimizers[0].param_groups] == pytest.approx([1e-3, 1e-3, 5e-4])
    assert trainable(model) == trainable(module()) + 4 * (5 * 2 + 2 * 24) + 2 * (24 * 24 + 24)


def trainable(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@pytest.mark.parametrize("ways", WAYS)
def test_checkpoint_holds_what_learns_and_resumes(tmp_path: Path, ways: dict[str, Any]) -> None:
    reference, keep = module(**ways), ModelCheckpoint(tmp_path, every_n_train_steps=3, save_top_k=-1, filename="{step}")
    options = {"max_steps": 6, "limit_val_batches": 0}
    trainer(tmp_path, callbacks=[keep], enable_checkpointing=True, **options).fit(reference, FakeData())
    half = tmp_path / "step=3.ckpt"
    saved = torch.load(half, weights_only=True)  # plain types only
    prefix = "segmenter.encoder.module."
    inside = {key.removeprefix(prefix) for key in saved["state_dict"] if key.startswith(prefix)}
    added = {"low_rank": (".update.",), "refinement": (".refinement.", ".refining_tokens.")}
    parts = added.get(next(iter(ways)), ("model.blocks.2.", "model.blocks.3.", "model.norm."))
    assert inside == {key for key in reference.encoder.state_dict() if any(part in key for part in parts)}
    assert saved["hyper_parameters"]["last_blocks"] == ways.get("last_blocks", 0)
    for way in added:
        assert saved["hyper_parameters"][way] == (asdict(ways[way]) if way in ways else None)
    other = module(**ways)
    with torch.no_grad():
        other.encoder.model.patch_embed.proj.bias.add_(1)
    with pytest.raises(UserError, match="its head was trained on another encoder"):
        trainer(tmp_path, **options).fit(other, FakeData(), ckpt_path=half)
    resumed = module(**ways)
    trainer(tmp_path, **options).fit(resumed, FakeData(), ckpt_path=half)
    for key, value in reference.encoder.state_dict().items():
        assert value.equal(resumed.encoder.state_dict()[key]), key
    for key, value in reference.state_dict().items():
        assert value.equal(resumed.state_dict()[key]), key


@pytest.mark.parametrize("ways", WAYS)
def test_a_missing_part_that_learns_is_noticed(ways: dict[str, Any]) -> None:
    state = module(**ways).state_dict()
    key = next(key for key in state if key.startswith("segmenter.encoder."))
    del state[key]
    with pytest.raises(RuntimeError, match=f"Missing key.*{key}"):
        module(**ways).load_state_dict(state)


@pytest.mark.parametrize("ways", WAYS[:3])
def test_the_exported_segmenter_is_a_plain_one(tmp_path: Path, ways: dict[str, Any]) -> None:
    plain, model = module(), module(**ways, lr=1e-2)
    trainer(tmp_path, max_steps=4, limit_val_batches=0).fit(model, FakeData())
    before = snapshot(model)
    loaded = load_segmenter(model.export(tmp_path / "out", {})).segmenter
    assert loaded.state_dict().keys() == plain.segmenter.state_dict().keys()
    assert isinstance(loaded.encoder, Frozen)
    assert loaded.encoder.module.state_dict().keys() == plain.encoder.state_dict().keys()
    with torch.no_grad():
        wanted = model.eval().segmenter.encoder(images(), [0, 1, 2, 3])[1]
        found = loaded.encoder(images(), [0, 1, 2, 3])[1]
        frozen = plain.segmenter.encoder(images(), [0, 1, 2, 3])[1]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)
    assert not found[-1].allclose(frozen[-1], atol=1e-3)
    assert moved(model, before) == set()  # the export merges a copy


def test_the_exported_segmenter_keeps_its_refinement(tmp_path: Path) -> None:
    model = module(**REFINED, lr=1e-2)
    trainer(tmp_path, max_steps=4, limit_val_batches=0).fit(model, FakeData())
    weights = model.export(tmp_path / "out", {})
    loaded = load_segmenter(weights).segmenter
    assert refinement_of(loaded.encoder.module) == REFINED["refinement"]
    with torch.no_grad():
        wanted, found = model.eval().segmenter.scores(images()), loaded.scores(images())
        unrefined = module().segmenter.encoder(images(), [3])[1][0]
        assert not loaded.encoder(images(), [3])[1][0].allclose(unrefined, atol=1e-3)
    assert found.equal(wanted)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    record = weights.with_name("segmenter.json")
    fields = json.loads(record.read_text())
    record.write_text(json.dumps({**fields, "refinement": {"tokens": 5, "rank": 3}}))
    with pytest.raises(UserError, match=r"8 tensors do not fit .* first encoder.model.blocks.0.refining_tokens.a"):
        load_segmenter(weights)
    record.write_text(json.dumps({**fields, "refinement": {"tokens": 5, "width": 3}}))
    with pytest.raises(UserError, match="not the record of a segmenter"):
        load_segmenter(weights)


@pytest.mark.parametrize("ways", WAYS)
def test_two_ranks_train_like_one(tmp_path: Path, ways: dict[str, Any]) -> None:
    """No parameter is left without a gradient, which would stop two ranks; the same losses as one process."""
    curves = []
    for name, options in (("one", {}), ("two", {"devices": 2, "strategy": "ddp_fork"})):
        losses = Losses(tmp_path / f"{name}.pt")
        options = {"callbacks": [losses], "limit_val_batches": 0, "use_distributed_sampler": False, **options}
        trainer(tmp_path, **options).fit(module(**ways), FakeData())
        curves.append(torch.load(tmp_path / f"{name}.pt"))
    assert len(curves[0]) == 5
    torch.testing.assert_close(curves[1], curves[0], atol=1e-4, rtol=1e-4)


def test_what_no_loss_reaches_is_frozen(tmp_path: Path) -> None:
    for ways, ending in ((LAST, "model.norm.weight"), (LOW, "blocks.3.attn.qkv.update.a"), (REFINED, "tokens.never")):
        model = module(**ways, blocks=[0, 1, 2, 2])
        trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(model, FakeData())
        still = {name for name, parameter in model.encoder.named_parameters() if parameter.requires_grad}
        assert still
        assert not any("blocks.3" in name or name.endswith(ending) for name in still)


def test_the_final_norm_learns_where_a_loss_compares_tokens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = WithDistillation(encoder=SPEC, num_classes=3, head=module().segmenter.head.config, last_blocks=1)
    before = model.encoder.model.norm.weight.detach().clone()
    trainer(tmp_path, limit_val_batches=0).fit(model, FakeData())
    assert not model.encoder.model.norm.weight.equal(before)


def test_additions_beside_other_layers() -> None:
    encoder = build_encoder(SPEC)
    assert {name.split(".")[-2] for name in add_low_rank(encoder, LowRank(layers=["fc1", "fc2"]))} == {"fc1", "fc2"}
    later = add_low_rank(build_encoder(SPEC), LowRank(first_block=2))
    assert {int(name.split(".")[2]) for name in later} == {2, 3}
    convolutional = build_encoder(EncoderSpec("convnext_tiny", image_size=32))
    prepared = prepared_encoder(convolutional, freeze=True, low_rank=LowRank(layers=["fc1"], rank=2))
    assert isinstance(prepared, PartlyFrozen)
    assert prepared.learning


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({**LAST, **LOW}, "last_blocks, low_rank: give one of them"),
        ({**LOW, **REFINED}, "low_rank, refinement: give one of them"),
        ({**REFINED, "freeze_encoder": False}, "refinement: is for a frozen encoder"),
        ({"encoder": EncoderSpec("convnext_atto", image_size=32), **REFINED}, "convnext_atto is no plain transformer"),
        ({**LAST, "freeze_encoder": False}, "last_blocks: is for a frozen encoder"),
        ({**LOW, "freeze_encoder": False}, "low_rank: is for a frozen encoder"),
        ({"last_blocks": 5}, "last_blocks: 5, but vit_tiny_patch16_224 has 4 blocks"),
        ({"last_blocks": -1}, "last_blocks: -1; give a number at least 0"),
        ({"low_rank": LowRank(rank=25)}, r"rank: 25 is more than .*attn.qkv has, \(72, 24\)"),
        ({"low_rank": LowRank(layers=["qvk", "proj"])}, r"named qvk \(names: fc1, fc2, proj, qkv\)"),
        ({"low_rank": LowRank(layers=[])}, "low_rank.layers: name at least one"),
        ({"low_rank": LowRank(first_block=4)}, "low_rank.first_block: 4, but the encoder has blocks 0 to 3"),
        (
            {
                "encoder": EncoderSpec("convnext_atto", image_size=32),
                "low_rank": LowRank(layers=["fc1"], rank=2, first_block=1),
            },
            "low_rank.first_block: 1, but it is no plain transformer",
        ),
        ({"encoder": EncoderSpec("convnext_atto", image_size=32), **LAST}, "convnext_atto is no plain transformer"),
        ({"encoder": replace(SPEC, name="convnext_atto", patch_size=None, options={}), **LOW}, r"proj \(names: none\)"),
    ],
)
def test_mistakes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        module(**changes)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"rank": 0}, "rank: 0; give a number at least 1"), ({"alpha": 0.0}, "alpha: 0; give a number above 0")],
)
def test_low_rank_additions_have_a_size(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LowRank(**sizes)
