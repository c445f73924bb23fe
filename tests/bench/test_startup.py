"""Whole processes are started for real, and one that fails is no measurement."""

from __future__ import annotations

import pytest

from gkd_bench.startup import command, comparisons
from gkd_lightning.errors import UserError


def test_a_command_that_fails_is_told() -> None:
    with pytest.raises(UserError, match=r"status 2: gkd: modell: no such verb"):
        command("cpu", ["-m", "gkd_lightning", "modell"]).step()


def test_the_first_step_is_reached() -> None:
    (comparison,) = comparisons("cpu")
    assert command("cpu", **comparison.contenders[-1].options).step() == 1
