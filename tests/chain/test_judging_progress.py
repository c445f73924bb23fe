"""Judging is not silent: now and then a line says which domain, how far, how fast."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gkd_lightning.chain.callbacks import Progress


def judged(progress: Progress, kind: str) -> None:
    batches = {"num_val_batches": [2, 3], "num_test_batches": [2, 3]}
    trainer: Any = SimpleNamespace(world_size=2, **batches)
    getattr(progress, f"on_{kind}_start")(trainer, None)
    for domain, (name, count) in enumerate({"fog": 2, "night": 3}.items()):
        for index in range(count):
            batch = {"image": torch.zeros(4, 3, 2, 2), "domain": name}
            getattr(progress, f"on_{kind}_batch_end")(trainer, None, None, batch, index, domain)


@pytest.mark.parametrize("kind", ["test", "validation"])
def test_a_line_names_domain_share_and_speed(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    judged(Progress("gkd seed 0", every_seconds=0), kind)
    lines = capsys.readouterr().out.splitlines()
    places = [re.match(r"gkd seed 0: judging (\w+)  batch (\d/5)  \d+\.\d img/s  ETA \d", line) for line in lines]
    assert [place and place.groups() for place in places] == [
        ("fog", "1/5"), ("fog", "2/5"), ("night", "3/5"), ("night", "4/5"), ("night", "5/5"),
    ]  # fmt: skip


def test_short_ones_and_other_ranks_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    judged(Progress("gkd seed 0", every_seconds=60), "test")
    silent = Progress("gkd seed 0", every_seconds=0)
    silent.disable()
    judged(silent, "test")
    assert capsys.readouterr().out == ""
