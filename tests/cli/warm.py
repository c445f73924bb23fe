"""One warm process that forks a child per command: what hundreds of mistakes need to be tried in two minutes.

`python -m tests.cli.warm OUT MODULE...` runs the `cases(folder)` of modules, each in a copy of `template(folder)`, and
writes what came of each to OUT.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

LIMIT = 60.0
"""Seconds; a command that takes longer hangs."""


@dataclass(frozen=True)
class Case:
    """A command in a copy of a folder.

    Attributes:
        name: what is wrong.
        arguments: of `gkd`.
        needles: what the one line has to name.
        prepare: spoils the folder.
        accepted: why it is no mistake; the command must then end without one.
    """

    name: str
    arguments: list[str]
    needles: list[str] = field(default_factory=list)
    prepare: Callable[[Path], Any] = lambda folder: None
    accepted: str = ""


def contents(folder: Path) -> dict[str, str]:
    """What there is, links not followed: the bytes of a file, where a link points, that there is a folder."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes().hex()
    return found


def run(cases: Iterable[Case], template: Path, jobs: int) -> list[dict[str, Any]]:
    """What came of every case: seconds of a core, status, lines on stderr, and the problem, if there is one."""
    gc.disable()  # a collection in a child would copy the pages that it shares
    waiting, running, done = list(reversed(list(cases))), {}, []
    while waiting or running:
        while waiting and len(running) < jobs:
            case = waiting.pop()
            place = Path(tempfile.mkdtemp())
            folder = shutil.copytree(template, place / "work", symlinks=True)
            case.prepare(folder)
            before, begun = contents(folder), time.monotonic()
            running[_fork(case, place)] = case, place, before, begun
        child, status, usage = os.wait4(-1, os.WNOHANG)
        for late, (*_, begun) in running.items():
            if time.monotonic() - begun > LIMIT:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.killpg(late, signal.SIGKILL)
        if child not in running:
            time.sleep(0.005)
            continue
        case, place, before, begun = running.pop(child)
        told = (place / "stderr").read_text(errors="replace").splitlines()
        after = contents(place / "work")
        changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        code = os.waitstatus_to_exitcode(status)
        problem = _problem(case, code, told, changed)
        seconds = round(usage.ru_utime + usage.ru_stime, 2)
        record = {**asdict(case), "prepare": None, "status": code, "lines": told, "problem": problem}
        done.append({**record, "seconds": seconds})
        shutil.rmtree(place, ignore_errors=True)
    return done


def _fork(case: Case, place: Path) -> int:
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        os.setpgid(0, 0)
        for name, descriptor in (("stdout", 1), ("stderr", 2)):
            os.dup2(os.open(place / name, os.O_WRONLY | os.O_CREAT), descriptor)
        os.chdir(place / "work")
        sys.path.append(os.getcwd())
        from gkd_lightning.cli import main

        status = main(case.arguments)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 71
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _problem(case: Case, status: int, told: list[str], changed: list[str]) -> str:
    if status < 0:
        return f"ended by signal {-status}: it hangs or crashes"
    if case.accepted:
        return "" if status == 0 else f"is told, but should be taken: {case.accepted}"
    if status != 2:
        return f"ends with {status}, not with 2"
    if len(told) != 1:
        return f"says {len(told)} lines, not one"
    if changed:
        return f"changes {', '.join(changed)}"
    absent = [needle for needle in case.needles if needle not in told[0]]
    return f"does not name {' '.join(absent)}" if absent else ""


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    found = []
    for module in map(importlib.import_module, sys.argv[2:]):
        with tempfile.TemporaryDirectory() as place:
            template = module.template(Path(place))
            found += run(list(module.cases(template)), template, jobs=min(os.cpu_count() or 1, 4))
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1))
