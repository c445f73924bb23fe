"""How processes train together: our options reach DDP, memories stay equal without being sent, FSDP is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.chain.strategy import OPTIONS, SyncBatchNorm, strategy
from gkd_lightning.cli import main
from gkd_lightning.encoders import EncoderSpec, build_encoder
from gkd_lightning.errors import UserError
from tests.chain.studies import FILES, write_study
from tests.chain.test_gradient_conflict import FRAGMENTS, stage
from tests.chain.toys import CONFIG

CIRKD = ("--model.term=gkd_lightning.baselines.CIRKD", "--model.term.logit_weight=0", "--model.term.pixel_places=24")


class Ranks(L.Callback):
    """What DDP is, and what every rank holds at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_before_optimizer_step(self, trainer: L.Trainer, module: L.LightningModule, optimizer: Any) -> None:
        wrapped = trainer.strategy.model
        assert isinstance(wrapped, nn.parallel.DistributedDataParallel)
        assert not wrapped.will_sync_module_buffers()
        learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
        assert all(parameter.grad is not None for parameter in learning)
        shared = {parameter.grad.untyped_storage().data_ptr() for parameter in learning if parameter.grad is not None}
        assert len(shared) < len(learning) / 10, "gradients lie in buckets"

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        state = {
            "buffers": {name: buffer.clone() for name, buffer in module.named_buffers()},
            "weights": {name: value.detach().clone() for name, value in module.named_parameters()},
        }
        torch.save(state, self.folder / f"rank{trainer.global_rank}.pt")


def test_the_memories_of_two_ranks_are_equal_without_being_sent(tmp_path: Path) -> None:
    made = stage(tmp_path, *FRAGMENTS, options=(*CIRKD, "--trainer.devices=2", "--trainer.strategy=ddp_fork"))
    before = {name: buffer.clone() for name, buffer in made.model.named_buffers() if "_bank" in name}
    made.trainer.callbacks.insert(0, Ranks(tmp_path))
    made.run()
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert len(before) == 2
    for name, start in before.items():
        assert first["buffers"][name].equal(second["buffers"][name]), name
        assert not first["buffers"][name].equal(start), name
    places = next(value for name, value in first["buffers"].items() if "pixel_place" in name)
    assert int(places.max()) > 0
    for name, value in first["weights"].items():
        assert value.equal(second["weights"][name]), name
    # stated in docs/clusters.md: what batch normalisation has seen is each rank's own
    running = [name for name in first["buffers"] if name.endswith("running_mean")]
    assert running
    assert not any(first["buffers"][name].equal(second["buffers"][name]) for name in running)


@pytest.mark.parametrize("asked", ["ddp", "auto", "ddp_find_unused_parameters_true"])
def test_the_options_are_made_for_every_name(asked: str) -> None:
    made = strategy(asked, processes=2)
    assert isinstance(made, DDPStrategy)
    assert {name: made._ddp_kwargs[name] for name in OPTIONS} == {
        "gradient_as_bucket_view": True,
        "broadcast_buffers": False,
    }
    assert made._ddp_kwargs.get("find_unused_parameters", False) == ("unused" in asked)


def test_what_is_written_out_is_taken_as_it_is() -> None:
    own = DDPStrategy(static_graph=True)
    assert strategy(own, processes=2) is own
    assert strategy("auto", processes=1) == "auto"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_study(tmp_path)
    (tmp_path / "toy.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["fsdp", "deepspeed_stage_2", "lightning.pytorch.strategies.FSDPStrategy", "xla"])
def test_what_cuts_a_model_up_is_refused_in_one_line(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "strategy.yaml").write_text(
        f"trainer: {{strategy: {{class_path: {name}}}}}" if "." in name else f"trainer: {{strategy: {name}}}"
    )
    for verb in ("fit", "validate", "test"):
        assert main([verb, "--config", "toy.yaml", "--config", "strategy.yaml"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"trainer.strategy: {name}: " in line
        assert "use ddp" in line
    (folder / "study.yaml").write_text(FILES["study.yaml"].replace("[trainer.yaml]", "[trainer.yaml, strategy.yaml]"))
    assert main(["run", "study.yaml", "--methods", "none"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"stage task of none: trainer.strategy: {name}: " in line
    assert not (folder / "runs").exists()


def test_synchronous_batch_norm_keeps_what_timm_puts_inside() -> None:
    encoder = build_encoder(EncoderSpec("mobilenetv4_conv_small", image_size=64)).eval()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    keys = list(encoder.state_dict())
    with torch.no_grad():
        wanted = encoder.tokens(images).patches
        converted = SyncBatchNorm().apply(encoder)
        found = converted.tokens(images).patches
    assert any(isinstance(module, nn.SyncBatchNorm) for module in converted.modules())
    assert list(converted.state_dict()) == keys
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)


def test_synchronous_batch_norm_is_a_gpu_s(folder: Path) -> None:
    with pytest.raises(UserError, match=r"^trainer\.sync_batchnorm: PyTorch has it for GPUs alone"):
        StageCLI(["--config", "toy.yaml", "--trainer.sync_batchnorm=true"])
