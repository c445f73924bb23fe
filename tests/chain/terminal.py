"""The command as a terminal runs it, and a signal in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def press_ctrl_c(
    arguments: list[str], ready: Callable[[], bool], number: signal.Signals = signal.SIGINT
) -> tuple[int, list[str]]:
    """Run `gkd`, send it a signal once `ready`; its exit status and the lines on its stderr."""
    with subprocess.Popen(
        [sys.executable, "-m", "gkd_lightning", *arguments],
        cwd=Path(__file__).parents[2], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        # a suite in the background ignores Ctrl-C, one under nohup a lost terminal, and so would what they start
        preexec_fn=lambda: [signal.signal(each, signal.SIG_DFL) for each in (signal.SIGINT, signal.SIGHUP)],
    ) as running:  # fmt: skip
        deadline = time.monotonic() + 280
        while not ready():
            assert running.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.send_signal(number)
        _, errors = running.communicate(timeout=60)
    return running.returncode, errors.splitlines()
