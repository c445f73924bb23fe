"""Milliseconds an image: several models in turns on the same images, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from gkd_lightning.cores import cores
from gkd_lightning.deploy.exported import EXPORT_RECORD, read_record
from gkd_lightning.errors import UserError
from gkd_lightning.evaluate import Latency, Setting
from gkd_lightning.machine import processor

TURN = 5
"""Images that a model segments before it is the next one's turn."""


@dataclass(frozen=True)
class Candidate:
    """A model to be timed.

    Attributes:
        title: for people.
        path: `segmenter.safetensors` or the folder of an export.
        source: SHA-256 of the segmenter that it is, or was exported from.
        size: bytes of its files.
    """

    title: str
    path: Path
    source: str
    size: int

    @classmethod
    def at(cls, path: Path, title: str | None = None) -> Candidate:
        """A checkpoint, its folder, or that of an export.

        Raises:
            UserError: neither of them.
        """
        if (path / EXPORT_RECORD).is_file():
            record = read_record(path)
            size = sum((path / name).stat().st_size for name in record["files"])
            return cls(title or str(path), path, record["source"]["sha256"], size)
        weights = path / "segmenter.safetensors" if path.is_dir() else path
        record_path = weights.with_name("segmenter.json")
        if weights.suffix != ".safetensors" or not weights.is_file():
            raise UserError(f"{path}: no segmenter.safetensors, no folder of one or of an export, and no run")
        try:
            source = json.loads(record_path.read_text(encoding="utf-8"))["sha256"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{record_path}: not the record of a segmenter ({error!r}), export it again") from error
        return cls(title or str(path), weights, str(source), weights.stat().st_size)


def measure(
    candidates: Sequence[Candidate],
    images: NDArray[np.uint8],
    domain: str | None = None,
    *,
    threads: Sequence[int] = (),
    device: str = "cpu",
    count: int = 100,
    tell: Callable[[str], None] = lambda text: None,
) -> list[list[Latency]]:
    """Time models in turns: a few images of the first, of the second … of the last, of the first again.

    From the pixels of an image in memory to class ids of its size, as `deploy.load(…).ids` and `open_export(…).segment`
    have them: resizing by the protocol, windows, network, mean, enlargement, arg max.

    Args:
        candidates: what is timed.
        images: uint8 RGB (n, H, W, 3), taken in turns.
        domain: which one's protocol resizes them, for the candidates that were judged on it.
        threads: of the processor, all candidates with each number; none takes all cores.
        device: where checkpoints compute; exports compute on the CPU.
        count: images of each candidate and number of threads that are timed, rounded up to whole turns.
        tell: is called with a line of progress before every round.

    Returns:
        Of every candidate one `Latency` for each number of threads.

    Raises:
        UserError: a model that cannot be opened, or does not take such images.
    """
    load, now = os.getloadavg()[0], datetime.now(UTC).isoformat(timespec="seconds")
    machine, rounds = machine_name(device), -(-count // TURN)
    steps = list(threads) or [cores()]
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "images.npy", images)
        task = {"images": f"{folder}/images.npy", "domain": domain, "device": device}
        phases = [_phase(candidates, {**task, "threads": number}, rounds, tell) for number in steps]
    counted: dict[str, _Made] = {}
    for each, made in zip(candidates, phases[-1], strict=True):
        if made.parameters:
            counted.setdefault(each.source, made)
    found = []
    for place, each in enumerate(candidates):
        network = phases[-1][place] if phases[-1][place].parameters else counted.get(each.source)
        common: dict[str, Any] = {
            "machine": machine,
            "device": "cpu" if device == "cpu" else "cuda",
            "image": images.shape[1:3],
            "model_mb": each.size / 1e6,
            "parameters": network.parameters if network else None,
            "gflops": network.flops / 1e9 if network and network.flops is not None else None,
            "load": round(load, 2),
            "measured": now,
        }
        rows = [(number, phase[place]) for number, phase in zip(steps, phases, strict=True)]
        found.append([Latency(threads=number, **common, **made.figures()) for number, made in rows])
    return found


@dataclass(frozen=True)
class _Made:
    """One model with one number of threads."""

    runtime: str
    seconds: list[float]
    peak: int
    parameters: int | None
    flops: int | None

    def figures(self) -> dict[str, Any]:
        milliseconds = 1000 * np.array(self.seconds)
        return {
            "runtime": self.runtime,
            "median_ms": round(float(np.median(milliseconds)), 3),
            "p95_ms": round(float(np.percentile(milliseconds, 95)), 3),
            "images": len(self.seconds),
            "peak_memory_mb": round(self.peak / 2**20, 1),
        }


def _phase(
    candidates: Sequence[Candidate], task: dict[str, Any], rounds: int, tell: Callable[[str], None]
) -> list[_Made]:
    where = str(Setting(task["device"], task["threads"]))
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(each, task)) for each in candidates]
        for worker in workers:
            worker.answer()
        times = in_turns(workers, rounds, lambda text: tell(f"{where}: {text}"))
        counts = [worker.ask("count") for worker in workers]  # takes memory: after the peak was read
    return [
        _Made(worker.runtime, seconds, worker.peak, **count)
        for worker, seconds, count in zip(workers, times, counts, strict=True)
    ]


class Worker:
    """The parent's end of `latency_worker`."""

    def __init__(self, candidate: Candidate, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self.candidate, self.process, self.errors = candidate, process, errors
        self.runtime, self.peak = "", 0

    def turn(self, count: int) -> list[float]:
        """Seconds of each of `count` images."""
        found = self.ask(str(count))
        self.peak = max(self.peak, found["peak"])
        return list(found["seconds"])

    def ask(self, question: str) -> dict[str, Any]:
        """The answer to a line."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, and `answer` says how
            print(question, file=self.process.stdin, flush=True)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next line of its own.

        Raises:
            UserError: it tells a mistake.
            RuntimeError: it has ended.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            self.errors.seek(0)
            last = (self.errors.read().strip().splitlines() or ["nothing was said"])[-1]
            raise RuntimeError(f"{self.candidate.title}: its process ended with status {status}: {last}")
        found: dict[str, Any] = json.loads(line)
        if "mistake" in found:
            raise UserError(f"{self.candidate.title}: {found['mistake']}")
        self.runtime = found.get("runtime", self.runtime)
        return found


def in_turns(workers: Sequence[Any], rounds: int, tell: Callable[[str], None]) -> list[list[float]]:
    """Seconds an image of every worker, `TURN` images a round, after a round that does not count."""
    times: list[list[float]] = [[] for _ in workers]
    for number in range(rounds + 1):
        tell(f"round {number} of {rounds}" if number else "warming up")
        for worker, own in zip(workers, times, strict=True):
            seconds = worker.turn(TURN)
            own += seconds if number else []
    return times


def machine_name(device: str) -> str:
    """The processor with its cores and instruction sets, or the GPU."""
    if device != "cpu":
        import torch

        return str(torch.cuda.get_device_name(device))
    model, features = processor()
    count = cores()
    sets = f" with {', '.join(name.upper() for name in features)}" if features else ""
    return f"{model}, {count} core{'s' * (count != 1)}{sets}"


@contextmanager
def _worker(candidate: Candidate, task: dict[str, Any]) -> Iterator[Worker]:
    command = [sys.executable, "-m", "gkd_lightning.deploy.latency_worker"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [*command, json.dumps({**task, "path": str(candidate.path)})],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        try:
            yield Worker(candidate, process, errors)
        finally:
            process.kill()
            process.communicate()
