"""How fp32 matrices are multiplied: a key of a stage that does not outlive it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gkd_lightning.chain.callbacks.products import Float32Products, products_of
from gkd_lightning.chain.stage_cli import StageCLI
from gkd_lightning.errors import UserError
from tests.chain.studies import write_study


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before)
    torch.backends.cudnn.allow_tf32 = convolutions


@pytest.mark.parametrize(
    ("precision", "device", "expected"),
    [
        ("bf16-mixed", "cuda", "high"), ("16-mixed", "cuda", "high"), ("32-true", "cuda", "highest"),
        ("bf16-mixed", "cpu", "highest"), ("32-true", "cpu", "highest"),
    ],
)  # fmt: skip
def test_what_a_run_gets_by_itself(precision: str, device: str, expected: str) -> None:
    run = SimpleNamespace(precision=precision, strategy=SimpleNamespace(root_device=torch.device(device)))
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.allow_tf32 = True
    callback = Float32Products()
    callback.setup(run, None, "fit")  # type: ignore[arg-type]
    assert torch.get_float32_matmul_precision() == products_of(run) == expected
    assert torch.backends.cudnn.allow_tf32 == (expected == "high")
    callback.teardown(run, None, "fit")  # type: ignore[arg-type]
    assert torch.get_float32_matmul_precision() == "medium"
    assert torch.backends.cudnn.allow_tf32


def stage(folder: Path, *options: str) -> StageCLI:
    folder.mkdir(exist_ok=True)
    write_study(folder)
    files = [f"--config={folder / f'{name}.yaml'}" for name in ("trainer", "distill", "proxy")]
    return StageCLI([*files, f"--trainer.default_root_dir={folder}", "--trainer.max_steps=1", *options])


def test_it_is_in_force_recorded_and_does_not_leak_into_the_next_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_float32_matmul_precision("highest")
    cli = stage(tmp_path, "--float32_matmul_precision=high")
    seen: list[str] = []
    original = type(cli.model).training_step

    def training_step(self, batch, batch_idx):  # type: ignore[no-untyped-def]
        seen.append(torch.get_float32_matmul_precision())
        return original(self, batch, batch_idx)

    monkeypatch.setattr(type(cli.model), "training_step", training_step)
    cli.run()
    assert seen == ["high"]
    assert torch.get_float32_matmul_precision() == "highest"
    provenance = json.loads((tmp_path / "student.json").read_text())["provenance"]
    assert provenance["float32_matmul_precision"] == provenance["config"]["float32_matmul_precision"] == "high"

    def broken(self, batch, batch_idx):  # type: ignore[no-untyped-def]
        seen.append(torch.get_float32_matmul_precision())
        raise RuntimeError("no such luck")

    failing = stage(tmp_path / "failing", "--float32_matmul_precision=medium")
    monkeypatch.setattr(type(cli.model), "training_step", broken)
    with pytest.raises(RuntimeError, match="no such luck"):
        failing.run()
    assert seen == ["high", "medium"]
    assert torch.get_float32_matmul_precision() == "highest"


def test_another_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"float32_matmul_precision"):
        stage(tmp_path, "--float32_matmul_precision=tf32")
