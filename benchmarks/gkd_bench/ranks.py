"""A step of stage 1 in several processes that exchange gradients (gloo, CPU)."""

from __future__ import annotations

import socket
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from gkd_bench.stage1 import Stage1Step, step


class Ranks:
    """The first rank here, the others in processes of their own, which step when it does."""

    def __init__(self, processes: int, **options: Any) -> None:
        port = _free_port()
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        for rank in range(1, processes):
            ours, theirs = context.Pipe()
            context.Process(target=_follow, args=(theirs, rank, processes, port, options), daemon=True).start()
            self._pipes.append(ours)
        self._rank = _Rank(0, processes, port, options)
        self.processes = processes

    def step(self) -> int:
        """See `Workload.step`; the images of all ranks."""
        for pipe in self._pipes:
            pipe.send("step")
        return self._rank.step() * self.processes


def ranks(device: str, processes: int, **options: Any) -> Ranks:
    """Make the work; `options` are those of `stage1.step`, `batch` is each process's own."""
    return Ranks(processes, **options)


class _Rank:
    def __init__(self, rank: int, processes: int, port: int, options: dict[str, Any]) -> None:
        distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=processes)
        work = step("cpu", **options)
        assert isinstance(work, Stage1Step)
        self.work = work
        self.parallel = DistributedDataParallel(_Loss(work))

    def step(self) -> int:
        return self.work.update(self.parallel())


class _Loss(nn.Module):
    """What DistributedDataParallel can wrap."""

    def __init__(self, work: Stage1Step) -> None:
        super().__init__()
        self.module = work.module
        self._forward = work.forward

    def forward(self) -> torch.Tensor:
        return self._forward()


def _follow(pipe: Connection, rank: int, processes: int, port: int, options: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    follower = _Rank(rank, processes, port, options)
    while True:
        try:
            pipe.recv()
        except EOFError:  # the first rank has ended
            return
        follower.step()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
