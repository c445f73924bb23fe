"""What happens to the terminal while a verb works: a signal to end, a reader that has gone."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from gkd_lightning.errors import Terminated


def _signals() -> list[signal.Signals]:
    # inside a SLURM job SIGTERM is Lightning's, which lets it pass: the warning before has written a checkpoint
    return [signal.SIGHUP] + ([] if "SLURM_JOB_ID" in os.environ else [signal.SIGTERM])


@contextmanager
def steady_terminal() -> Iterator[None]:
    """Inside, SIGTERM and a lost terminal interrupt as Ctrl-C does, and output that nobody reads stops no work."""
    with _signals_interrupt(), _unread_output_is_dropped():
        yield


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    ours = threading.current_thread() is threading.main_thread()
    taken = [number for number in _signals() if ours and signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _terminate)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def _unread_output_is_dropped() -> Iterator[None]:
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Steady(stream) for stream in before)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        sys.stdout, sys.stderr = before


class _Steady:
    """A stream that goes on into nothing once its reader has gone (`| head -1`), for child processes too."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return int(self._kept(lambda: self._stream.write(text)) or 0)

    def flush(self) -> None:
        self._kept(self._stream.flush)

    def _kept(self, work: Any) -> Any:
        try:
            return work()
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            return work()
