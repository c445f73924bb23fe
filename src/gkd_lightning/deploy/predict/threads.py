"""Reading ahead of the computing, and writing behind it."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_PATIENCE = 0.1
"""Seconds between two looks at whether anybody still wants what was read."""
_END = object()


def ahead(source: Generator[T, None, None], depth: int, newest: bool = False) -> Iterator[T]:
    """The same items, made in a thread of their own, in which `source` is closed too.

    Args:
        source: makes them.
        depth: how many may wait.
        newest: drop the oldest that waits rather than let `source` wait: a camera goes on meanwhile.
    """
    waiting: queue.Queue[Any] = queue.Queue(depth)
    unwanted = threading.Event()

    def offer(item: Any) -> None:
        while not unwanted.is_set():
            try:
                return waiting.put(item, timeout=0 if newest else _PATIENCE)
            except queue.Full:
                if newest and item is not _END and not isinstance(item, BaseException):
                    try:
                        waiting.get_nowait()
                    except queue.Empty:
                        continue
        return None

    def work() -> None:
        try:
            for item in source:
                offer(item)
                if unwanted.is_set():
                    break
        except BaseException as error:  # whatever it is, the other thread has to know
            offer(error)
        finally:
            source.close()
            offer(_END)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        unwanted.set()
        thread.join(1.0)  # a thread that waits for a camera ends with the process


def in_order(pool: Executor, work: Callable[[T], R], items: Iterable[T], depth: int) -> Iterator[R]:
    """Results of `work`, in the order of `items`, of which at most `depth` are on their way at once."""
    pending: deque[Future[R]] = deque()
    for item in items:
        pending.append(pool.submit(work, item))
        if len(pending) == depth:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
