"""The processor that numbers belong to."""

from __future__ import annotations

from pathlib import Path

import pytest

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
