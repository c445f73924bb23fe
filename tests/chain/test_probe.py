"""The probe in a real stage 1: it is logged, changes nothing, and knows a good encoder from a bad one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from gkd_lightning.chain.logger import read_metrics
from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.data import MiniCity
from gkd_lightning.encoders import EncoderSpec, build_encoder
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate.encoder_probe import probe_scores
from tests.chain.studies import FILES

PROBE = """
trainer:
  callbacks:
    - class_path: gkd_lightning.chain.callbacks.ProbeStudent
      init_args:
        train: {class_path: gkd_lightning.data.MiniCity, init_args: {style: game, size: 6}}
        val:
          game: {class_path: gkd_lightning.data.MiniCity, init_args: {style: game, size: 4, offset: 100}}
          val: {class_path: gkd_lightning.data.MiniCity, init_args: {style: val, size: 4, offset: 100}}
        every_n_steps: 2
"""


def train(folder: Path, *names: str, options: tuple[str, ...] = ()) -> Path:
    arguments: list[str] = []
    for name in names:
        text = PROBE if name == "probe.yaml" else FILES[name]
        (folder / name).write_text(text)
        arguments += ["--config", str(folder / name)]
    out = folder / ("with" if "probe.yaml" in names else "without")
    StageCLI([*arguments, "--trainer.max_steps=5", f"--trainer.default_root_dir={out}", *options]).run()
    return out


def test_it_is_logged_and_changes_no_bit(tmp_path: Path) -> None:
    base = ("trainer.yaml", "distill.yaml", "proxy.yaml")
    with_probe, without = train(tmp_path, *base, "probe.yaml"), train(tmp_path, *base)
    rows = [row for row in read_metrics(with_probe / "metrics.jsonl") if "val/probe/miou" in row]
    assert [row["step"] for row in rows] == [2, 4, 5]
    for row in rows:
        assert row["val/probe/miou"] == row["val/probe/game/miou"]
        assert 0 < row["val/probe/val/miou"] < 100
    ours, theirs = (load_file(out / "student.safetensors") for out in (with_probe, without))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_trained_teacher_reads_better_than_random_weights() -> None:
    options = {"embed_dim": 192, "depth": 5, "num_heads": 6}
    train_set, held_out = MiniCity("game", 24), {"game": MiniCity("game", 8, offset=100_000)}
    scores = {}
    for weights in ("asset:minicity_teacher", None):
        torch.manual_seed(0)
        encoder = build_encoder(EncoderSpec("vit_tiny_patch16_224", weights, 96, 8, options=options)).train()
        scores[weights] = probe_scores(encoder, train_set, held_out)["game"].miou
        assert encoder.training
    assert scores["asset:minicity_teacher"] > scores[None] + 10  # 62.9 and 43.9 were measured


def test_a_model_without_a_student(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no student to probe"):
        train(
            tmp_path, "trainer.yaml", "task.yaml", "source.yaml", "probe.yaml",
            options=("--data.view=segmentation",),
        )  # fmt: skip
