"""How long it takes to begin: help, a verb's help, the first training step, beside the import of LightningCLI alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from gkd_bench.contender import Comparison, Contender
from gkd_lightning.errors import UserError
from gkd_lightning.files import shipped

_COMMAND = "gkd_bench.startup:command"
_GKD = ["-m", "gkd_lightning"]
_FIRST_STEP = {
    "--config": ("trainer/cpu.yaml", "stage/task_agnostic_small.yaml", "data/minicity_proxy.yaml"),
    "--model.teacher": ("teacher/minicity.yaml",),
    "--model.student": ("student/minicity_tiny.yaml",),
}


def comparisons(device: str, peers: Sequence[str] = ()) -> list[Comparison]:
    """See `suites.comparisons`; the same on every device."""
    rows = {
        "import of lightning.pytorch.cli": ["-c", "import lightning.pytorch.cli"],
        "gkd --help": [*_GKD, "--help"],
        "gkd fit --help": [*_GKD, "fit", "--help"],
        "gkd fit, one step of MiniCity's stage 1a": [*_GKD, "fit", "--trainer.max_steps=1", *_files()],
    }
    contenders = tuple(Contender(name, _COMMAND, {"arguments": arguments}) for name, arguments in rows.items())
    return [Comparison("startup", "Beginning, whole processes", contenders, unit="starts")]


def _files() -> list[str]:
    return [f"{option}={shipped(f'configs/{name}')}" for option, names in _FIRST_STEP.items() for name in names]


class Command:
    """A Python process from beginning to end, in a folder that is thrown away."""

    def __init__(self, arguments: list[str]) -> None:
        self.arguments = arguments

    def step(self) -> int:
        """See `Workload.step`."""
        with TemporaryDirectory() as folder:
            done = subprocess.run(
                [sys.executable, *self.arguments], cwd=Path(folder), capture_output=True, text=True, check=False
            )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise UserError(f"{' '.join(self.arguments)}: status {done.returncode}: {last}")
        return 1


def command(device: str, arguments: list[str]) -> Command:
    """Make the work; `arguments` follow the interpreter."""
    return Command(arguments)
