"""Latencies in results, and which models no other beats."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import Latency, Results, conditions_of, pareto, settings_of, with_latencies
from tests.evaluate.builders import results


def latency(ms: float = 10.0, threads: int = 1, **changes: Any) -> Latency:
    fields: dict[str, Any] = {
        "machine": "Toy, 2 cores", "device": "cpu", "threads": threads, "image": (96, 128), "runtime": "Toy 1",
        "median_ms": ms, "p95_ms": 1.5 * ms, "images": 20, "model_mb": 2.5, "parameters": 700_000, "gflops": 0.25,
        "peak_memory_mb": 80.0, "load": 0.1, "measured": "2030-01-01T00:00:00+00:00",
    }  # fmt: skip
    return Latency(**(fields | changes))


def timed(found: Results, **by_method: list[Latency]) -> Results:
    runs = [replace(run, latencies=by_method.get(run.method, [])) for run in found.runs]
    return replace(found, runs=runs)


def test_they_round_trip_and_leave_other_results_as_they_were(tmp_path: Path) -> None:
    plain = results(seeds=1)
    plain.save(tmp_path / "plain.json")
    found = timed(plain, gkd=[latency(), latency(6.0, threads=2)])
    found.save(tmp_path / "results.json")
    assert Results.load(tmp_path / "results.json") == found
    before, after = (json.loads((tmp_path / name).read_text()) for name in ("plain.json", "results.json"))
    gkd = next(run for run in after["runs"] if run["method"] == "gkd")
    assert [each["threads"] for each in gkd.pop("latencies")] == [1, 2]
    assert before == after


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, "fast", None])
def test_numbers_that_no_clock_gives_are_refused(value: Any, tmp_path: Path) -> None:
    found = timed(results(seeds=1), gkd=[latency()]).asdict()
    next(run for run in found["runs"] if run["method"] == "gkd")["latencies"][0]["median_ms"] = value
    (tmp_path / "results.json").write_text(json.dumps(found))
    with pytest.raises(UserError, match=r"results\.json|median_ms"):
        Results.load(tmp_path / "results.json")


def test_measuring_again_replaces_what_was_measured_so() -> None:
    elsewhere, one, two = latency(1.0, machine="Other, 64 cores"), latency(10.0), latency(6.0, threads=2)
    larger = latency(40.0, image=(512, 1024))
    again = latency(9.0)
    assert with_latencies([elsewhere, one, two, larger], [again]) == [elsewhere, two, larger, again]


def test_machines_and_sizes_of_images_stay_apart() -> None:
    found = [
        latency(),
        latency(threads=2),
        latency(machine="Other"),
        latency(image=(512, 1024)),
        latency(device="cuda"),
    ]
    assert [str(each).split(",")[0] for each in conditions_of(found)] == ["Toy", "Other", "Toy"]
    assert [str(each) for each in settings_of(found)] == ["1 thread", "2 threads", "GPU"]


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ({"slow": (9, 1), "quick": (1, 1)}, ["quick"]),
        ({"a": (3, 30), "b": (1, 10), "c": (2, 20), "under": (2.5, 15), "late": (4, 30)}, ["b", "c", "a"]),
        ({"twin": (1, 10), "same": (1, 10), "worse": (1, 9)}, ["twin", "same"]),
        ({}, []),
    ],
)
def test_the_front_is_what_nothing_beats(points: dict[str, tuple[float, float]], front: list[str]) -> None:
    assert pareto(points) == front
