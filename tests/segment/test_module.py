"""Stage 2 as a whole: what is trained, logged, saved, and the same over two ranks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from gkd_lightning.data.types import CITYSCAPES_19
from gkd_lightning.errors import UserError
from gkd_lightning.segment import SegformerHead, TaskLearning, load_segmenter
from gkd_lightning.segment.module import StudentPass
from tests.segment.fake import HEAD, SPACE, SPEC, FakeData


def module(**changes: Any) -> TaskLearning:
    torch.manual_seed(0)
    return TaskLearning(
        **{"encoder": SPEC, "num_classes": 3, "head": HEAD, "window": 32, "stride": 16, "lr": 1e-3, **changes}
    )


class Losses(L.Callback):
    """Keep the logged loss of every step, on the disk since ranks are processes."""

    def __init__(self, path: Path) -> None:
        self.path, self.values = path, []

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.values.append(trainer.callback_metrics["train/loss"].clone())
        if trainer.is_global_zero:
            torch.save(torch.stack(self.values), self.path)


def trainer(folder: Path, **changes: Any) -> L.Trainer:
    options = {
        "accelerator": "cpu", "devices": 1, "max_steps": 5, "max_epochs": -1, "logger": False,
        "enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": folder,
        "enable_checkpointing": False, "num_sanity_val_steps": 0, "log_every_n_steps": 1,
    }  # fmt: skip
    return L.Trainer(**{**options, **changes})


def test_frozen_encoder_head_learns_scores_by_domain(tmp_path: Path) -> None:
    model, data, run = module(), FakeData(), trainer(tmp_path, max_steps=6)
    before = {key: value.clone() for key, value in model.encoder.state_dict().items()}
    head = {key: value.clone() for key, value in model.segmenter.head.state_dict().items()}
    run.fit(model, data)
    run.validate(model, data, verbose=False)
    assert all(value.equal(before[key]) for key, value in model.encoder.state_dict().items())
    unchanged = [key for key, value in model.segmenter.head.state_dict().items() if value.equal(head[key])]
    assert unchanged == []
    assert not model.encoder.training
    assert list(model.domain_scores) == ["town", "fog"]
    assert model.domain_scores["town"].seen
    assert not model.domain_scores["fog"].seen
    assert model.domain_scores["fog"].images == 2
    assert int(model.domain_scores["fog"].matrix.sum()) == 2 * (32 * 32 - 6)
    for domain, score in model.domain_scores.items():
        assert float(run.callback_metrics[f"val/{domain}/miou"]) == pytest.approx(score.miou, rel=1e-5)
    run.test(model, data, verbose=False)
    assert "test/fog/miou" in run.callback_metrics


def test_logged_terms_add_up(tmp_path: Path) -> None:
    run = trainer(tmp_path, max_steps=1)
    run.fit(module(), FakeData())
    logged = {key: float(value) for key, value in run.callback_metrics.items() if key.startswith("train/")}
    total = logged.pop("train/loss")
    assert set(logged) == {"train/loss_classes", "train/loss_masks", "train/loss_dice"}
    assert total == pytest.approx(sum(logged.values()), rel=1e-5)


def test_it_learns(tmp_path: Path) -> None:
    losses = Losses(tmp_path / "losses.pt")
    trainer(tmp_path, max_steps=24, callbacks=[losses], limit_val_batches=0).fit(module(lr=5e-3), FakeData())
    assert torch.stack(losses.values[-3:]).mean() < 0.8 * torch.stack(losses.values[:3]).mean()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_checkpoint_holds_no_encoder_and_resumes(tmp_path: Path, precision: str) -> None:
    reference, keep = module(), ModelCheckpoint(tmp_path, every_n_train_steps=3, save_top_k=-1, filename="{step}")
    options = {"max_steps": 6, "precision": precision, "limit_val_batches": 0}
    trainer(tmp_path, callbacks=[keep], enable_checkpointing=True, **options).fit(reference, FakeData())
    half = tmp_path / "step=3.ckpt"
    other = module()
    other.encoder.mask_token.add_(1)
    with pytest.raises(UserError, match="its head was trained on another encoder"):
        trainer(tmp_path, **options).fit(other, FakeData(), ckpt_path=half)
    saved = torch.load(half, weights_only=True)  # plain types only
    assert saved["global_step"] == 3
    assert all(key.startswith("segmenter.head.") for key in saved["state_dict"])
    assert saved["hyper_parameters"]["encoder"]["options"]["embed_dim"] == 24
    assert saved["hyper_parameters"]["head"]["queries"] == 6
    resumed = module()
    trainer(tmp_path, **options).fit(resumed, FakeData(), ckpt_path=half)
    for key, value in reference.state_dict().items():
        assert value.equal(resumed.state_dict()[key]), key


def test_missing_head_weights_are_noticed() -> None:
    state = module().state_dict()
    state.popitem()
    with pytest.raises(RuntimeError, match="Missing key"):
        module().load_state_dict(state)


def test_trained_encoder(tmp_path: Path) -> None:
    """What no loss reaches (final norm, mask token) is frozen, the rest moves at its own rate."""
    model, run = module(freeze_encoder=False, encoder_lr_scale=0.1), trainer(tmp_path, limit_val_batches=0)
    before = {key: value.clone() for key, value in model.encoder.state_dict().items()}
    run.fit(model, FakeData())
    assert run.optimizers[0].param_groups[2]["initial_lr"] == pytest.approx(1e-4)
    moved = {key for key, value in model.encoder.state_dict().items() if not value.equal(before[key])}
    assert before.keys() - moved == {"mask_token", "model.norm.weight", "model.norm.bias"}
    assert any(key.startswith("segmenter.encoder.") for key in model.state_dict())


class WithDistillation(TaskLearning):
    """A single-stage baseline in small."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.projection = torch.nn.Linear(self.encoder.embed_dim, 2)

    def distillation_loss(self, batch: dict[str, torch.Tensor], student: StudentPass) -> dict[str, torch.Tensor]:
        assert batch["label"].shape[1:] == (32, 32)
        return {"feature": self.projection(student.tokens.patches).square().mean()}


def test_distillation_hook_adds_terms_and_parameters(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = WithDistillation(encoder=SPEC, num_classes=3, head=HEAD, freeze_encoder=False)
    before = model.projection.weight.detach().clone()
    run = trainer(tmp_path, limit_val_batches=0)
    run.fit(model, FakeData())
    assert not model.projection.weight.equal(before)
    assert float(run.callback_metrics["train/feature"]) > 0
    assert model.encoder.model.norm.weight.requires_grad  # the tokens pass it
    assert not model.encoder.mask_token.requires_grad


@pytest.mark.parametrize(
    ("freeze", "head"),
    [
        (True, HEAD),
        (False, HEAD),
        (True, replace(HEAD, encoder_layers=0)),
        (True, {"width": 32, "losses": {"ohem": 1.0, "dice": 1.0, "boundary": 1.0, "ohem_min_kept": 100}}),
    ],
    ids=["frozen", "whole", "light", "pixels"],
)
def test_two_ranks_train_like_one(tmp_path: Path, freeze: bool, head: Any) -> None:
    """The same global batch: the same losses and, within rounding, the same weights."""
    curves, weights = [], []
    for name, options in (("one", {}), ("two", {"devices": 2, "strategy": "ddp_fork"})):
        model = module(freeze_encoder=freeze, head=SegformerHead(**head) if isinstance(head, dict) else head)
        path = tmp_path / f"{name}.pt"
        run = trainer(tmp_path, callbacks=[Losses(path)], limit_val_batches=0, use_distributed_sampler=False, **options)
        run.fit(model, FakeData())
        curves.append(torch.load(path))
        weights.append(next(iter(model.segmenter.head.parameters())).detach())
    assert len(curves[0]) == 5
    torch.testing.assert_close(curves[1], curves[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(weights[1], weights[0], atol=1e-4, rtol=0)


def test_classes_must_be_the_datas(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="num_classes: 5, but the data has 3 classes"):
        trainer(tmp_path).fit(module(num_classes=5), FakeData())
    data = FakeData()
    data.label_space = CITYSCAPES_19
    with pytest.raises(UserError, match="19 classes"):
        trainer(tmp_path).validate(module(), data)


def test_labels_are_needed(tmp_path: Path) -> None:
    data = FakeData()
    data.view = "distillation"
    with pytest.raises(UserError, match=r"data\.view"):
        trainer(tmp_path).fit(module(), data)
    with pytest.raises(UserError, match="SourceDataModule"):
        trainer(tmp_path).fit(module(), torch.utils.data.DataLoader([0]))


def test_export_is_what_was_trained(tmp_path: Path) -> None:
    model, run = module(), trainer(tmp_path, max_steps=2, limit_val_batches=0)
    run.fit(model, FakeData())
    path = model.export(tmp_path / "out", {"seed": 3})
    loaded, space, record = load_segmenter(path)
    assert space == SPACE
    assert record["provenance"] == {"seed": 3}
    assert record["protocol"]["resize"] == "none"
    images = torch.randint(0, 256, (1, 3, 40, 56), dtype=torch.uint8)
    with torch.no_grad():
        assert loaded.scores(images).equal(model.eval()(images))


def test_padding_of_a_sharded_sampler_is_not_counted(tmp_path: Path) -> None:
    model, data = module(), FakeData()
    run = trainer(tmp_path)
    run.validate(model, data, verbose=False)
    batch = next(iter(data.val_dataloader()[0]))
    batch["name"] = [""]
    with torch.inference_mode():
        model.validation_step(batch, 0, 0)
    assert int(model.domain_metrics[0].matrix.sum()) == 0
    assert int(model.domain_metrics[0].images) == 0
