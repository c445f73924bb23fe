"""`make drill`: a chain stopped at random moments, in several ways, must end with the bits of an undisturbed one.

It is no part of the tests: it takes minutes, and what it finds depends on the machine's pace. Every attempt is the
command of a user, `gkd run`, with two workers that load data. What is drawn comes from `--seed`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.chain.studies import write_study

SETTINGS = ("trainer.max_steps=40", "resume_every=5")
WAYS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP", "full disk")
EXPECTED = {"SIGKILL": {-9}, "SIGTERM": {130}, "SIGINT": {130, -2}, "SIGHUP": {130}, "full disk": {2}}
"""Exit status of an attempt that was stopped this way; 0 if it had finished before. A Python that was interrupted while
an extension imported modules ends by the signal itself, which a shell shows as 130 too."""


@dataclass(frozen=True)
class Attempt:
    """How one process ended."""

    way: str
    moment: float
    """Seconds after its start, or bytes that a file may have."""
    status: int
    lines: list[str]
    """What it said on stderr."""
    orphans: int
    """Processes of its group that still ran ten seconds later."""

    @property
    def problem(self) -> str | None:
        """What a user would complain of."""
        if self.status not in EXPECTED.get(self.way, set()) | {0}:
            return f"status {self.status}"
        if any(line.startswith("Traceback") for line in self.lines):
            return "a traceback"
        return f"{self.orphans} processes left" if self.orphans else None


def attempt(recipe: Path, out: Path, way: str = "nothing", moment: float = 0.0) -> Attempt:
    """Run the study until it ends or is stopped."""
    command = [sys.executable, "-m", "gkd_lightning", "run", str(recipe), "--out", str(out)]
    command += [word for setting in SETTINGS for word in ("--set", setting)]

    def limited() -> None:
        if way == "full disk":  # the kernel refuses what a file would have beyond this, in the middle of a write
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(moment), int(moment)))

    with tempfile.TemporaryFile("w+") as said:
        child = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True, preexec_fn=limited
        )
        if way.startswith("SIG"):
            try:
                child.wait(timeout=moment)
            except subprocess.TimeoutExpired:
                number = signal.Signals[way]
                # a terminal sends Ctrl-C to all of its group
                (os.killpg if way == "SIGINT" else os.kill)(child.pid, number)
        status = child.wait()
        said.seek(0)
        lines = said.read().splitlines()
    return Attempt(way, moment, status, lines, orphans(child.pid))


def orphans(group: int) -> int:
    """Processes of this group that do not end within ten seconds; they are killed."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return 0
        time.sleep(0.1)
    left = len(subprocess.run(["pgrep", "-g", str(group)], capture_output=True, check=False).stdout.split())
    os.killpg(group, signal.SIGKILL)
    return left


def outcome(out: Path) -> dict[str, str]:
    """The recorded SHA-256 of every stage, and all confusion matrices."""
    found = {}
    for path in sorted(out.glob("stages/*/done.json")):
        found[path.parent.name] = json.loads(path.read_text())["sha256"]
    for run in json.loads((out / "results.json").read_text())["runs"]:
        matrices = {score["domain"]: score["confusion"] for score in run["domains"]}
        found[f"{run['method']} seed {run['seed']}"] = json.dumps(matrices)
    return found


def progress(out: Path) -> str:
    """How far a run got: finished stages, and whether one has a checkpoint to go on from."""
    begun = [path.parent for path in out.glob("stages/*/resume.ckpt")]
    done = [path.parent for path in out.glob("stages/*/done.json")]
    return f"{len(done)} stages finished, {len(set(begun) - set(done))} begun"


def drill(folder: Path, kills: int, seed: int) -> list[str]:
    """Everything that went wrong, in words; empty if nothing did."""
    draw, problems, hits = random.Random(seed), [], Counter[str]()
    recipe = write_study(folder)
    start = time.monotonic()
    if (first := attempt(recipe, folder / "whole")).status != 0:
        return [f"the undisturbed run ended with {first.status}: {first.lines[-1:]}"]
    whole, expected = time.monotonic() - start, outcome(folder / "whole")
    print(f"undisturbed: {whole:.0f} s, {len(expected)} results", flush=True)
    chains = 0
    while sum(hits.values()) < kills:
        chains += 1
        out = folder / f"chain{chains}"
        while sum(hits.values()) < kills:
            way = WAYS[sum(hits.values()) % len(WAYS)]
            moment = draw.uniform(2e4, 4e5) if way == "full disk" else draw.uniform(0.05, 0.6) * whole
            found = attempt(recipe, out, way, moment)
            if found.problem:
                problems.append(f"{way} at {moment:.1f}: {found.problem}; it said {found.lines[-2:]}")
            if found.status == 0:
                break  # it was faster than the signal: compare, and begin another chain
            hits[way] += 1
            said = found.lines[-1][:110] if found.lines else "nothing"
            print(
                f"{sum(hits.values()):2d} {way:9} at {moment:9.1f}: {found.status:4d}, {progress(out)}; {said}",
                flush=True,
            )
        last = attempt(recipe, out)
        if last.status != 0:
            problems.append(f"chain {chains}: the last attempt ended with {last.status}: {last.lines[-1:]}")
            continue
        found_now = outcome(out)
        differing = sorted(key for key in expected | found_now if expected.get(key) != found_now.get(key))
        partial = [str(path.relative_to(out)) for path in out.rglob("*.partial")]
        problems += [f"chain {chains}: {key} differs" for key in differing]
        problems += [f"chain {chains}: {path} was left" for path in partial]
        print(
            f"chain {chains}: {len(expected) - len(differing)} of {len(expected)} results are the same bits", flush=True
        )
        shutil.rmtree(out)
    print(f"{sum(hits.values())} stopped ({dict(hits)}), {chains} chains, {len(problems)} problems", flush=True)
    return problems


def main() -> int:
    """Status 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        problems = drill(Path(folder), given.kills, given.seed)
    for problem in problems:
        print(f"PROBLEM {problem}")
    return bool(problems)


if __name__ == "__main__":
    raise SystemExit(main())
