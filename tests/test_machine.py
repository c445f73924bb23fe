"""The processor that numbers belong to."""

from __future__ import annotations

from pathlib import Path

import pytest

from gkd_lightning import machine
from gkd_lightning.cli import main, study
from gkd_lightning.machine import processor


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("processor\t: 0\nmodel name\t: A 9\nflags\t\t: fpu avx2 avx512f amx_int8\n\nprocessor\t: 1\n",
         ("A 9", ["avx2", "avx512f", "amx_int8"])),
        ("processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\n", (None, ["asimddp", "i8mm"])),
        ("", (None, [])),
    ],
)  # fmt: skip
def test_linux_tells(text: str, found: tuple[str | None, list[str]], tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    model, features = processor(tmp_path / "cpuinfo")
    assert features == found[1]
    assert model == (found[0] or model)
    assert model


def test_other_systems_name_their_architecture(tmp_path: Path) -> None:
    model, features = processor(tmp_path / "nothing")
    assert model
    assert features == []


@pytest.mark.parametrize(("features", "fp32"), [(["avx2"], True), (["avx2", "amx_bf16"], False), (["bf16"], False)])
def test_the_demo_computes_in_what_the_processor_can(
    features: list[str], fp32: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without instructions for it, bf16 would take hours."""
    planned: list[study.Study] = []
    monkeypatch.setattr(machine, "processor", lambda: ("A 9", features))
    monkeypatch.setattr(study, "execute", lambda plan, dry_run: planned.append(plan) or 0)
    assert main(["demo", "--dry-run"]) == 0
    assert planned[0].settings == (("trainer.precision=32-true",) if fp32 else ())
    assert ("computed in fp32" in capfd.readouterr().out) == fp32
