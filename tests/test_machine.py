"""The processor that numbers belong to."""

from __future__ import annotations

from pathlib import Path

import pytest

from gkd_lightning import machine
from gkd_lightning.cli import main
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


@pytest.mark.parametrize(
    ("features", "precision"), [(["avx2"], "32-true"), (["avx2", "amx_bf16"], "bf16-mixed"), (["bf16"], "bf16-mixed")]
)
def test_the_demo_computes_in_what_the_processor_can(
    features: list[str],
    precision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Bf16 without instructions for it would take hours."""
    monkeypatch.setattr(machine, "processor", lambda: ("A 9", features))
    assert main(["demo", "--dry-run", "--out", str(tmp_path / "out")]) == 0
    plan = capfd.readouterr().out
    assert ("computed in fp32" in plan) == (precision == "32-true")
    assert (
        main(
            [
                "run",
                "minicity/demo",
                "--dry-run",
                "--out",
                str(tmp_path / "out"),
                f"--set=trainer.precision={precision}",
            ]
        )
        == 0
    )
    named = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in named if line.startswith("task")] == [
        line.split()[0] for line in plan.splitlines() if line.startswith("task")
    ]
