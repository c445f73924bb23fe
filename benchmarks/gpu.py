"""Measure one card: `python benchmarks/gpu.py --out FOLDER` writes `<gpu>.json` and `table.md` there.

Steps of every stage beside the authors' and transformers', each built, warmed up, timed and dropped, one after the
other in a process that is started anew where a row ends it. The files are written after every row, and rows that are
there already are not measured again, so that it can be stopped at any moment and goes on where it was.
Without a card it says what it would measure; `--tiny` tries all of it at toy sizes on any machine.
The authors' rows need their repository on disk, see `peers/official_gkd.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gkd_bench import Bench, Contender, Measured, Measurement
from gkd_bench.contender import build
from gkd_bench.counting import counted
from gkd_bench.machine import ceilings, describe
from gkd_bench.profiling import launched, longest, waits
from gkd_lightning.files import atomic_write
from gkd_lightning.segment import segmenter as segmenter_module
from gpu_rows import PEER, TITLES, Row, rows
from gpu_table import short, tables

WARM = 6
"""Steps before the clock starts: they compile, choose kernels, capture."""
ROUNDS = 5
ANEW = 75
"""Exit status of a process that wants the remaining rows to be measured in another."""
PROFILED = 10
_WINDOWS_AT_ONCE = segmenter_module.SCORE_VALUES_AT_ONCE


def main() -> int:
    """Measure all rows within the budget."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options.add_argument("--budget", type=float, default=300, help="seconds for all of it (default: 300)")
    options.add_argument("--seconds", type=float, default=1.5, help="of timing a row (default: 1.5)")
    options.add_argument("--only", nargs="+", choices=TITLES, help="only these groups")
    options.add_argument("--tiny", action="store_true", help="toy sizes, also on a CPU")
    options.add_argument("--deadline", type=float, help=argparse.SUPPRESS)  # of a process that measures
    found = options.parse_args()
    wanted = [row for row in rows(found.tiny) if not found.only or row.group in found.only]
    if not torch.cuda.is_available() and not found.tiny:
        print("no CUDA device here; on one this would measure:")
        for row in wanted:
            print(f"  {TITLES[row.group]}: {row.name}")
        return 0
    found.out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    results = Results(found.out, device, found.tiny)
    if found.deadline is not None:
        measure_all(results, wanted, device, found.seconds, found.deadline)
        return 0
    deadline = time.time() + found.budget
    while results.missing(wanted) and (left := deadline - time.time()) > 0:
        status = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            command = [sys.executable, *sys.argv, "--deadline", str(deadline)]
            status = subprocess.run(command, timeout=left, check=False).returncode
        results = Results(found.out, device, found.tiny)
        if status == 0:
            break
        if status not in (None, ANEW) and (missing := results.missing(wanted)):
            lost = Measurement(missing[0].name, failed=f"its process ended with status {status}")
            results.add(missing[0], lost)
    for row in results.missing(wanted):
        print(f"not measured, the budget was spent: {TITLES[row.group]}: {row.name}")
    print(f"figures: {results.path}, {results.page}")
    return 0


class Results:
    """The JSON file, and the page that is made of it."""

    def __init__(self, folder: Path, device: str, tiny: bool) -> None:
        machine = describe(device)
        name = re.sub(r"[^a-z0-9]+", "_", str(machine.get("gpu", "cpu")).lower()).strip("_")
        self.path = folder / f"{name}{'_tiny' if tiny else ''}.json"
        self.page = folder / "table.md"
        self.side = 256 if tiny else None
        self.bench = Bench.load(self.path) if self.path.exists() else Bench(machine, {}, [])

    def missing(self, wanted: list[Row]) -> list[Row]:
        """Rows that have no figures yet, nor a reason for that."""
        there = {(group.name, row.name) for group in self.bench.comparisons for row in group.rows}
        return [row for row in wanted if (row.group, row.name) not in there]

    def ceiling(self, device: str) -> None:
        """Time matrix products, if that has not been done."""
        if not self.bench.ceiling:
            self.bench.ceiling.update(ceilings(device, self.side))

    def add(self, row: Row, measurement: Measurement) -> None:
        """Write the files anew with one more row."""
        groups = {group.name: group for group in self.bench.comparisons}
        group = groups.get(row.group)
        if group is None:
            group = Measured(row.group, TITLES[row.group], "images", [])
            self.bench.comparisons.append(group)
        group.rows.append(measurement)
        self.bench.save(self.path)
        with atomic_write(self.page) as temporary:
            temporary.write_text(tables(self.bench), encoding="utf-8")


def measure_all(results: Results, wanted: list[Row], device: str, seconds: float, deadline: float) -> None:
    """Row by row, until the deadline."""
    torch.set_flush_denormal(True)
    results.ceiling(device)
    begun = time.time()
    for row in results.missing(wanted):
        if time.time() > deadline:
            return
        if row.target.startswith(str(PEER)) and not os.environ.get("GKD_OFFICIAL"):
            measurement = Measurement(row.name, failed="not measured: GKD_OFFICIAL is not set")
        else:
            measurement = measured(row, device, seconds)
        results.add(row, measurement)
        print(f"[{time.time() - begun:4.0f} s] {row.group}: {short(measurement)}", flush=True)
        if "CUDA error" in (measurement.failed or ""):  # after one, nothing works in this process
            sys.exit(ANEW)


def measured(row: Row, device: str, seconds: float) -> Measurement:
    """One row; what goes wrong is its result."""
    torch._dynamo.reset()
    torch.set_float32_matmul_precision("highest")
    segmenter_module.SCORE_VALUES_AT_ONCE = _WINDOWS_AT_ONCE
    work: Any = None
    figures: Any = None
    try:
        work = build(Contender(row.name, row.target, row.options), device)
        figures = partial(_figures, row, work, device, seconds)
        # A trainer keeps this thread to itself.
        return Measurement(row.name, **(work.drive(figures) if hasattr(work, "drive") else figures()))
    except Exception as error:
        return Measurement(
            row.name, failed=f"not measured: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        )
    finally:
        work = figures = None
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()


def _figures(row: Row, work: Any, device: str, seconds: float) -> dict[str, Any]:
    cuda = device == "cuda"

    def finish() -> None:
        if cuda:
            torch.cuda.synchronize()

    def timed(steps: int) -> tuple[int, float]:
        begun = time.perf_counter()
        images = sum(work.step() for _ in range(steps))
        finish()
        return images, time.perf_counter() - begun

    timed(WARM if cuda else 1)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    one = timed(1)[1]
    steps = max(1, min(50, round(seconds / ROUNDS / one)))  # the host runs ahead within a round, as in a training
    rates = [images / spent for images, spent in (timed(steps) for _ in range(ROUNDS if cuda else 1))]
    found: dict[str, Any] = {"rates": rates}
    if cuda:
        found["peak_bytes"] = float(torch.cuda.max_memory_allocated())
    with contextlib.suppress(Exception):  # what cannot be looked into has its rate all the same
        if cuda:
            found["waits"] = waits(work.step)
            found["launches"], found["kernels"], found["busy_ms"] = launched(work.step, device)
        if row.profile:
            found["profile"] = longest(work.step, device, PROFILED)
        if row.countable:
            found["flops_per_image"] = counted(work.step)["flops_per_image"]
    return found


if __name__ == "__main__":
    sys.exit(main())
