"""`selection: source-val` hands on the weights of the best validation, `last` the last ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from safetensors.torch import load_file

from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.errors import UserError
from tests.chain.toys import CONFIG, ToyData, ToyStage

SCORES = [10.0, 30.0, 20.0]


class Scored(ToyStage):
    """Validates three times; the second time is the best."""

    def on_validation_epoch_start(self) -> None:
        self.seen = [*getattr(self, "seen", []), self.map.weight.detach().clone()]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val/game/miou", SCORES[len(self.seen) - 1])


class WithValidation(ToyData):
    domain_names = ["game"]  # noqa: RUF012

    def val_dataloader(self) -> Any:
        return torch.utils.data.DataLoader([{"image": torch.zeros(1)}])


@pytest.mark.parametrize(("selection", "chosen"), [("last", None), ("source-val", 1)])
def test_selection(selection: str, chosen: int | None, tmp_path: Path) -> None:
    config = tmp_path / "toy.yaml"
    text = CONFIG.replace("tests.chain.toys.ToyStage", f"{__name__}.Scored")
    text = text.replace("tests.chain.toys.ToyData", f"{__name__}.WithValidation")
    config.write_text(
        text.replace("max_steps: 13", "max_steps: 13, val_check_interval: 4, check_val_every_n_epoch: null")
    )
    stage = StageCLI(["--config", str(config), "--trainer.default_root_dir", str(tmp_path), "--selection", selection])
    stage.run()
    module = stage.model
    assert isinstance(module, L.LightningModule)
    handed_on = load_file(tmp_path / "student.safetensors")["weight"]
    assert len(module.seen) == 3
    assert [torch.equal(handed_on, weights) for weights in module.seen] == [chosen == index for index in range(3)]


def test_source_val_needs_a_validation_domain(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(CONFIG)
    options = ["--trainer.default_root_dir", str(tmp_path / "out"), "--selection", "source-val"]
    with pytest.raises(UserError, match="needs a validation domain"):
        StageCLI(["--config", str(tmp_path / "toy.yaml"), *options]).run()
