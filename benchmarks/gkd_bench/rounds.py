"""Contenders in turns, A B A B: what changes in the machine meets all of them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gkd_bench.contender import Comparison, Contender
from gkd_lightning.errors import UserError


@dataclass(frozen=True)
class Measurement:
    """A contender's figures.

    Attributes:
        name: of the contender.
        rates: images per second of every round.
        waiting: share of the time that it waited for data; None if the work does not tell.
        peak_bytes: highest memory beyond what the libraries take.
        flops_per_image: floating point operations; None if they were not counted.
        host_reads: of one step: how often the host waits to know a value.
        loss: before the first step; None if the work has none.
        profile: the longest operations, if asked for.
        failed: why there are no figures.
        launches: calls of a step that start kernels on a GPU; this and what follows is measured by `benchmarks/gpu.py`.
        kernels: that the GPU ran for a step.
        busy_ms: milliseconds of a step in which the GPU worked.
        waits: how often the host waited for the GPU in a step.
    """

    name: str
    rates: list[float] = field(default_factory=list)
    waiting: float | None = None
    peak_bytes: float | None = None
    flops_per_image: float | None = None
    host_reads: int | None = None
    loss: float | None = None
    profile: list[dict[str, Any]] = field(default_factory=list)
    failed: str | None = None
    launches: float | None = None
    kernels: float | None = None
    busy_ms: float | None = None
    waits: int | None = None

    @property
    def median(self) -> float:
        """Images per second."""
        return statistics.median(self.rates) if self.rates else float("nan")

    def ratio_to(self, base: Measurement) -> list[float]:
        """How many times as fast as `base`, round by round."""
        return [own / other for own, other in zip(self.rates, base.rates, strict=False)]


def _searched() -> str:
    """Python's path for a worker: this package lies beside the product, where nobody has installed it."""
    return os.pathsep.join([str(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])


class Process:
    """A worker process, asked from here."""

    def __init__(self, contender: Contender, device: str) -> None:
        self.contender = contender
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - a pipe that nobody reads would stop it when full
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gkd_bench.worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True,
            env={**os.environ, "PYTHONPATH": _searched()},
        )  # fmt: skip
        try:
            self._send({"contender": asdict(contender), "device": device})
        except ContenderError:
            self.close()
            raise

    def ask(self, request: str, **arguments: Any) -> Any:
        """Send a request and wait for its answer."""
        return self._send({"request": request, **arguments})

    def _send(self, message: dict[str, Any]) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise ContenderError(f"its process ended with status {process.wait()}: {self._last_words()}")
        reply = json.loads(line)
        if "error" in reply:
            raise ContenderError(reply["error"])
        return reply["answer"]

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        return (self._log.read().strip().splitlines() or ["it said nothing"])[-1]


class ContenderError(Exception):
    """A contender could not do its work."""


def measure(
    comparison: Comparison,
    device: str = "cpu",
    rounds: int = 5,
    seconds: float = 5.0,
    profile_rows: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> list[Measurement]:
    """Time the contenders of a comparison in turns.

    Args:
        comparison: what to compare.
        device: ``cpu`` or ``cuda``.
        rounds: turns of each contender.
        seconds: length of a turn, at least one step.
        profile_rows: how many of the longest operations to list; 0 does not profile.
        say: gets a line of progress now and then.

    Returns:
        One measurement each, in order. One that fails says why and stops nobody else.

    Raises:
        UserError: losses differ that should be the same, so the contenders do not do the same work.
    """
    processes: list[Process | None] = []
    found: list[dict[str, Any]] = []
    try:
        for contender in comparison.contenders:
            process, figures = _started(contender, device)
            processes.append(process)
            found.append(figures)
            say(f"{comparison.name}: {contender.name} {'failed' if process is None else 'is ready'}")
        _check_losses(comparison, found)
        for number in range(rounds):
            for process, figures in zip(processes, found, strict=True):
                if process is not None and "failed" not in figures:
                    _turn(process, figures, seconds)
            say(f"{comparison.name}: round {number + 1} of {rounds}")
        for process, figures in zip(processes, found, strict=True):
            if process is not None and "failed" not in figures:
                figures.update(_looked_into(process, profile_rows))
    finally:
        for process in processes:
            if process is not None:
                process.close()
    return [_measurement(figures) for figures in found]


def _started(contender: Contender, device: str) -> tuple[Process | None, dict[str, Any]]:
    figures: dict[str, Any] = {"name": contender.name, "rates": [], "waited": 0.0, "seconds": 0.0}
    process: Process | None = None
    try:
        process = Process(contender, device)
        figures["loss"] = process.ask("loss")
        process.ask("run", steps=2)  # warm: first calls allocate, choose kernels, compile
    except ContenderError as error:
        figures["failed"] = str(error)
        if process is not None:
            process.close()
        return None, figures
    return process, figures


def _turn(process: Process, figures: dict[str, Any], seconds: float) -> None:
    try:
        turn = process.ask("run", seconds=seconds)
    except ContenderError as error:
        figures["failed"] = str(error)
        return
    figures["rates"].append(turn["images"] / turn["seconds"])
    figures["waited"] += turn["waiting"]
    figures["seconds"] += turn["seconds"]
    figures["peak_bytes"] = turn["peak"]


def _looked_into(process: Process, profile_rows: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with suppress(ContenderError):  # compiled code and CUDA graphs cannot be looked into
        found |= process.ask("count")
        if profile_rows:
            found["profile"] = process.ask("profile", rows=profile_rows)
    return found


def _measurement(figures: dict[str, Any]) -> Measurement:
    waited, seconds = figures.pop("waited"), figures.pop("seconds")
    if "host_reads" in figures:
        figures["host_reads"] = int(figures["host_reads"])
    return Measurement(**figures, waiting=waited / seconds if seconds and waited else None)


def _check_losses(comparison: Comparison, found: Sequence[dict[str, Any]]) -> None:
    losses = {figures["name"]: figures["loss"] for figures in found if figures.get("loss") is not None}
    if comparison.same_loss is None or len(losses) < 2:
        return
    (first, base), *others = losses.items()
    for name, loss in others:
        if abs(loss - base) > comparison.same_loss * abs(base):
            raise UserError(
                f"{comparison.name}: the loss of '{name}' is {loss:.6g}, "
                f"that of '{first}' {base:.6g}: not the same work"
            )
