"""A contender's own process: builds the work, then does as much of it as it is told, line by line.

Requests and answers are JSON lines on standard input and output; what the work prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import torch

from gkd_bench.contender import Contender, Workload, build
from gkd_lightning.memory import peak_memory, resident_memory


class Worker:
    """Answers requests about one workload."""

    def __init__(self, contender: Contender, device: str) -> None:
        if contender.threads:
            torch.set_num_threads(contender.threads)
        torch.set_flush_denormal(True)  # for every contender: subnormals are no part of the comparison
        self.device = device
        self.resident = resident_memory()
        self.workload: Workload = build(contender, device)
        self.requests: dict[str, Callable[..., Any]] = {
            "loss": self.loss,
            "run": self.run,
            "count": self.count,
            "profile": self.profile,
        }

    def loss(self) -> float | None:
        """Of the work as it is, before any step; None if it has none."""
        own = getattr(self.workload, "loss", None)
        return float(own()) if own is not None else None

    def run(self, seconds: float = 0.0, steps: int = 0) -> dict[str, float]:
        """Repeat the work for so long, or so often, and say how many images and seconds that were.

        `waiting` are those of the seconds in which the work waited for data, where it tells (attribute `waited`);
        `peak` is the highest memory since the process began, in bytes beyond what the libraries take.
        """
        self._finish()
        waited = getattr(self.workload, "waited", 0.0)
        images = done = 0
        begun = now = time.perf_counter()
        while done < max(1, steps) or now - begun < seconds:
            images += self.workload.step()
            done += 1
            if not steps:
                self._finish()
            now = time.perf_counter()
        self._finish()
        return {
            "images": images,
            "steps": done,
            "seconds": time.perf_counter() - begun,
            "waiting": getattr(self.workload, "waited", 0.0) - waited,
            "peak": self._peak(),
        }

    def count(self) -> dict[str, float]:
        """Floating point operations, and copies from the device that stop the host, of one step."""
        from gkd_bench.counting import counted

        return counted(self.workload.step)

    def profile(self, rows: int = 10) -> list[dict[str, Any]]:
        """The operations that take most of three steps: name, share of the time, calls a step."""
        from gkd_bench.profiling import longest

        return longest(self.workload.step, self.device, rows)

    def _finish(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _peak(self) -> float:
        return float(max(0, peak_memory() - (0 if self.device == "cuda" else self.resident)))


def serve(requests: Iterator[str], answers: TextIO) -> None:
    """The first line describes the contender and the device; every further one is a request with its arguments."""
    worker: Worker | None = None
    for line in requests:
        request = json.loads(line)
        try:
            if worker is None:
                worker = Worker(Contender(**request["contender"]), request["device"])
                answer: Any = "ready"
            else:
                answer = worker.requests[request.pop("request")](**request)
            reply = {"answer": answer}
        except Exception as error:  # told to the process that asked, which knows what it means
            import traceback

            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


if __name__ == "__main__":
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # print() of a library must not answer in our place
    serve(iter(sys.stdin.readline, ""), own)
