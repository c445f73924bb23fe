"""The work of several processes steps in all of them; which comparisons a device has."""

from __future__ import annotations

from gkd_bench import Comparison, Contender, measure
from gkd_bench.growth import comparisons

TINY = {
    "teacher": "vit_tiny_patch16_224", "student": "vit_tiny_patch16_224", "size": 32, "patch": 8,
    "teacher_options": {"embed_dim": 48, "depth": 1, "num_heads": 2},
    "student_options": {"embed_dim": 32, "depth": 1, "num_heads": 2},
}  # fmt: skip


def test_two_processes_step_together() -> None:
    target = "gkd_bench.ranks:ranks"
    (row,) = measure(
        Comparison("r", "r", (Contender("two", target, {**TINY, "batch": 4, "processes": 2}, threads=1),)),
        rounds=2,
        seconds=0.0,
    )
    assert row.failed is None
    assert len(row.rates) == 2
    assert min(row.rates) > 0


def test_every_device_has_its_comparisons() -> None:
    assert [each.name for each in comparisons("cpu")] == ["growth-batch", "growth-tokens", "growth-processes"]
    assert [each.name for each in comparisons("cuda")] == ["growth-batch", "growth-tokens"]
    assert all(each.contenders[0].options["precision"] == "bf16" for each in comparisons("cuda"))
