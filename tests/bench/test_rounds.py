"""The harness: turns, memory, losses that must agree, contenders that fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from gkd_bench import Bench, Comparison, Contender, Measured, measure
from gkd_bench.results import MARKER, markdown, write_page
from gkd_lightning.errors import UserError

TOYS = str(Path(__file__).with_name("toys.py"))


def contender(name: str, function: str = "sleeper", **options: object) -> Contender:
    return Contender(name, f"{TOYS}:{function}", dict(options), threads=1)


def test_figures_of_two_contenders_in_turns() -> None:
    said: list[str] = []
    comparison = Comparison(
        "nap",
        "Sleeping",
        (contender("quick", seconds=0.002), contender("slow", seconds=0.01, waiting=0.03)),
    )
    quick, slow = measure(comparison, rounds=3, seconds=0.05, say=said.append)
    assert len(quick.rates) == len(slow.rates) == 3
    assert quick.median > 3 * slow.median
    assert quick.median < 4 / 0.002
    assert all(ratio < 0.4 for ratio in slow.ratio_to(quick))
    assert quick.waiting is None
    assert slow.waiting is not None
    assert 0.5 < slow.waiting < 0.76
    assert quick.flops_per_image == 2 * 8**3 / 4
    assert quick.host_reads == 1
    assert said[-1] == "nap: round 3 of 3"


def test_memory_is_each_contenders_own() -> None:
    small, large = measure(
        Comparison(
            "m", "m", (contender("small", "hoarder", mebibytes=8), contender("large", "hoarder", mebibytes=128))
        ),
        rounds=1,
        seconds=0.0,
    )
    assert small.peak_bytes is not None
    assert large.peak_bytes is not None
    assert 110 * 2**20 < large.peak_bytes - small.peak_bytes < 130 * 2**20


def test_a_contender_that_fails_says_why_and_stops_nobody() -> None:
    rows = measure(
        Comparison("f", "f", (contender("fine"), contender("broken", "broken"), contender("dying", "dying"))),
        rounds=1,
        seconds=0.0,
    )
    fine, broken, dying = rows
    assert fine.rates
    assert fine.failed is None
    assert broken.failed == "ValueError: no such luck"
    assert dying.failed is not None
    assert "status 3" in dying.failed


def test_what_is_no_workload_is_refused() -> None:
    (row,) = measure(Comparison("p", "p", (contender("pointless", "pointless"),)), rounds=1, seconds=0.0)
    assert row.failed is not None
    assert "no method step()" in row.failed


def test_losses_have_to_agree() -> None:
    def pair(other: float) -> Comparison:
        return Comparison("l", "l", (contender("a", loss=2.0), contender("b", loss=other)), same_loss=1e-4)

    assert [row.loss for row in measure(pair(2.0001), rounds=1, seconds=0.0)] == [2.0, 2.0001]
    with pytest.raises(UserError, match=r"the loss of 'b' is 2.01, that of 'a' 2: not the same work"):
        measure(pair(2.01), rounds=1, seconds=0.0)


def test_results_round_trip_and_become_a_page(tmp_path: Path) -> None:
    comparison = Comparison("nap", "Sleeping", (contender("quick"), contender("broken", "broken")))
    machine = {
        "cpu": "Toy", "cores": 2, "cpu_features": ["avx2"], "memory_gib": 1.0, "versions": {"torch": "9"},
    }  # fmt: skip
    bench = Bench(machine, {"float32": 2e12}, [Measured.of(comparison, measure(comparison, rounds=2, seconds=0.0))])
    bench.save(tmp_path / "toy.json")
    assert Bench.load(tmp_path / "toy.json") == bench
    text = markdown(bench)
    assert "## Toy" in text
    assert "### Sleeping" in text
    assert "| broken | not measured: ValueError: no such luck |" in text
    assert "| 1.00 |" in text
    page = tmp_path / "README.md"
    page.write_text(f"# Speed\n\n{MARKER}\nwhat was measured before\n")
    write_page([tmp_path / "toy.json"], page)
    assert page.read_text() == f"# Speed\n\n{MARKER}\n\n{text}"
    page.write_text("# Speed\n")
    with pytest.raises(UserError, match=r"README.md: has no line"):
        write_page([tmp_path / "toy.json"], page)
    newer = Bench(
        machine, {"float32": 1e12}, [Measured("nap", "Sleeping", "images", []), Measured("x", "X", "images", [])]
    )
    assert [each.name for each in bench.joined(newer).comparisons] == ["nap", "x"]
    assert bench.joined(newer).comparisons[0].rows == []
    with pytest.raises(UserError, match=r"measured on another machine \(cores: 2, here 4\)"):
        bench.joined(Bench({**machine, "cores": 4}, {}, []))
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(UserError, match=r"broken.json: no benchmark results"):
        Bench.load(tmp_path / "broken.json")
