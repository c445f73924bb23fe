"""Many files made by several processes: each whole or not at all, finished ones skipped, all written down."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from gkd_lightning import __version__
from gkd_lightning.files import atomic_write, file_sha256, write_json

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Item:
    """One file to make.

    Attributes:
        target: its path relative to the destination.
        make: writes it to the path it is called with; picklable, so a function of a module or a `partial` of one.
    """

    target: str
    make: Callable[[Path], None]


def carry_out(items: Sequence[Item], destination: Path, workers: int, about: dict[str, Any]) -> int:
    """Make every item that is not there yet, then write `manifest.json` with each file's size and SHA-256.

    Args:
        items: what to make.
        destination: folder of the targets.
        workers: processes; 0 makes everything in this one.
        about: facts for the manifest: data set, source, options.

    Returns:
        How many files were made now.

    Raises:
        UserError: the first item that failed; what was made before stays and is skipped the next time.
    """
    waiting = [item for item in items if not (destination / item.target).is_file()]
    print(f"{len(items)} files, {len(items) - len(waiting)} of them finished before", flush=True)
    for number, _ in enumerate(_made(waiting, destination, workers), start=1):
        if number % max(1, len(waiting) // 20) == 0 or number == len(waiting):
            print(f"{number}/{len(waiting)}", flush=True)
    files = {}
    for item in items:
        path = destination / item.target
        files[item.target] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    write_json(destination / MANIFEST, {**about, "gkd_lightning": __version__, "files": files})
    return len(waiting)


def _made(items: Sequence[Item], destination: Path, workers: int) -> Iterator[Item]:
    if workers == 0:
        for item in items:
            _make(item, destination)
            yield item
        return
    # spawn: the parent may hold threads and open files that a fork would copy half-way
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_quiet) as pool:
        try:
            remaining = iter(items)
            running: dict[Future[None], Item] = {}
            while True:
                for item in islice(remaining, 4 * workers - len(running)):
                    running[pool.submit(_make, item, destination)] = item
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    yield running.pop(future)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _quiet() -> None:
    """Ctrl-C ends the parent, which lets the files in work be finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.tracebacklimit = 0


def _make(item: Item, destination: Path) -> None:
    with atomic_write(destination / item.target) as temporary:
        item.make(temporary)
