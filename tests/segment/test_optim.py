import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from gkd_lightning.encoders import LowRank, build_encoder
from gkd_lightning.errors import UserError
from gkd_lightning.segment.encoder_training import freeze_unreached
from gkd_lightning.segment.optim import anneal_weight_decay, parameter_groups, poly_factor
from gkd_lightning.segment.segmenter import Segmenter
from tests.segment.fake import HEAD, SPEC, FakeData
from tests.segment.test_module import module, trainer


def test_every_trained_parameter_is_in_one_group() -> None:
    segmenter = Segmenter.for_encoder(build_encoder(SPEC), 3, HEAD)
    segmenter.encoder.requires_grad_(True)
    groups = parameter_groups(segmenter, segmenter.encoder, lr=1e-3, weight_decay=0.05, encoder_lr_scale=0.1)
    listed = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(listed) == sorted(id(parameter) for parameter in segmenter.parameters())
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-3, 0.05), (1e-3, 0), (1e-4, 0.05)]


def test_frozen_parameters_are_in_none() -> None:
    model = nn.ModuleDict({"encoder": nn.Linear(2, 2), "head": nn.Linear(2, 2), "norm": nn.LayerNorm(2)})
    model["encoder"].requires_grad_(False)
    groups = parameter_groups(model, model["encoder"], 1e-3, 0.05, 1.0)
    assert [len(group["params"]) for group in groups] == [2, 2]


def test_poly_ends_at_zero_even_for_tiny_runs() -> None:
    assert [poly_factor(5)(step) for step in (0, 4, 5)] == [1, 0, 0]
    assert poly_factor(1)(0) == 1


def test_unreached_parameters() -> None:
    """Blocks after the last chosen one get no gradient; with the tokens, all but the mask token do."""
    encoder = build_encoder(SPEC)
    unreached = freeze_unreached(encoder, [0, 1, 2, 2], with_tokens=False)
    assert {name.split(".")[1] if "." in name else name for name in unreached} == {"mask_token", "norm", "blocks"}
    assert {name.split(".")[2] for name in unreached if "blocks" in name} == {"3"}
    for name, parameter in encoder.named_parameters():
        assert parameter.requires_grad == (name not in unreached)
    assert freeze_unreached(build_encoder(SPEC), [0, 1, 2, 2], with_tokens=True) == ["mask_token"]
    assert encoder.training
    assert all(parameter.device.type == "cpu" for parameter in encoder.parameters())
    assert torch.isfinite(encoder.tokens(torch.zeros(1, 3, 32, 32)).cls).all()


def test_weight_decay_falls_along_half_a_cosine() -> None:
    parts = [nn.Parameter(torch.ones(1)) for _ in range(2)]
    groups = [{"params": [part], "weight_decay": decay} for part, decay in zip(parts, (0.05, 0.0), strict=True)]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    for progress, wanted in ((0.0, 0.05), (1 / 3, 1e-5 + (0.05 - 1e-5) * 0.75), (0.5, (0.05 + 1e-5) / 2), (1.0, 1e-5)):
        anneal_weight_decay(optimizer, 1e-5, progress)
        assert [group["weight_decay"] for group in optimizer.param_groups] == pytest.approx([wanted, 0.0])


def test_the_decay_follows_the_step_through_a_resumption(tmp_path: Path) -> None:
    """Also down to nothing, and as far as the step says, not as far as the run was when it began again."""

    class Decays(L.Callback):
        def __init__(self) -> None:
            self.values: list[list[float]] = []

        def on_train_batch_end(self, run: L.Trainer, *_: Any) -> None:
            self.values.append([group["weight_decay"] for group in run.optimizers[0].param_groups])

    ways = {"low_rank": LowRank(rank=3, start="minor"), "weight_decay_end": 0.0}
    seen, again, reference, resumed = Decays(), Decays(), module(**ways), module(**ways)
    keep = ModelCheckpoint(tmp_path, every_n_train_steps=3, save_top_k=-1, filename="{step}")
    options = {"max_steps": 6, "limit_val_batches": 0}
    trainer(tmp_path, callbacks=[keep, seen], enable_checkpointing=True, **options).fit(reference, FakeData())
    wanted = [0.05 * (1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)]
    for values, decay in zip(seen.values, wanted, strict=True):
        assert values == pytest.approx([decay, 0.0, decay])  # head, its norms, additions
    trainer(tmp_path, callbacks=[again], **options).fit(resumed, FakeData(), ckpt_path=tmp_path / "step=3.ckpt")
    assert again.values == seen.values[3:]
    for key, value in reference.state_dict().items():
        assert value.equal(resumed.state_dict()[key]), key


def test_there_has_to_be_a_decay() -> None:
    with pytest.raises(UserError, match="weight_decay_end: there is nothing to anneal, weight_decay is 0"):
        module(weight_decay=0.0, weight_decay_end=0.0)
