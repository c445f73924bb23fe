"""Workloads that are quick, slow, broken."""

from __future__ import annotations

import os
import time
from typing import Any

import torch


class Sleeper:
    def __init__(self, seconds: float, waiting: float = 0.0, loss: float | None = None) -> None:
        self.seconds, self.pause, self.waited = seconds, waiting, 0.0
        self.matrix = torch.ones(8, 8)
        if loss is not None:
            self.loss = lambda: loss

    def step(self) -> int:
        print("not an answer")
        time.sleep(self.seconds + self.pause)
        self.waited += self.pause
        float((self.matrix @ self.matrix)[0, 0])
        return 4


def sleeper(device: str, seconds: float = 0.002, waiting: float = 0.0, loss: float | None = None) -> Sleeper:
    return Sleeper(seconds, waiting, loss)


def hoarder(device: str, mebibytes: int) -> Sleeper:
    work = Sleeper(0.001)
    work.matrix = torch.ones(mebibytes, 2**18)
    work.step = lambda: int(work.matrix[:, :4].sum() > 0)  # type: ignore[method-assign]
    return work


def broken(device: str) -> Any:
    raise ValueError("no such luck")


class Dying:
    def step(self) -> int:
        os._exit(3)


def dying(device: str) -> Dying:
    return Dying()


def pointless(device: str) -> int:
    return 3
