"""What an interrupted stage goes on from: the newest of its checkpoints."""

from __future__ import annotations

import pickle
from pathlib import Path

RESUME = "resume.ckpt"
"""Written by us every so many steps, and on Ctrl-C."""
PREEMPTED = "hpc_ckpt_*.ckpt"
"""Written by Lightning when SLURM announces the end of a job; it reads them only where no other is given."""


def newest_checkpoint(directory: Path) -> Path | None:
    """The checkpoint of a stage's folder that was written last; None if there is none."""
    return max(_checkpoints(directory), key=lambda path: path.stat().st_mtime_ns, default=None)


def forget_checkpoints(directory: Path) -> None:
    """Remove all of them: the stage is finished, or begins once more."""
    for path in _checkpoints(directory):
        path.unlink()


def _checkpoints(directory: Path) -> list[Path]:
    return [path for path in (directory / RESUME, *directory.glob(PREEMPTED)) if path.is_file()]


def checkpoint_problem(error: Exception) -> str | None:
    """What is wrong with a checkpoint that could not be read; None if the error is about something else."""
    text = " ".join(str(error).split())
    if "loading state_dict" in text:
        return f"of another architecture ({text.split(': ', 1)[-1][:160]})"
    if isinstance(error, pickle.UnpicklingError) or "Weights only load failed" in text:
        return "a pickle with more than plain tensors, which is never executed"
    if isinstance(error, EOFError) or "PytorchStreamReader" in text or "zip archive" in text:
        return "not a checkpoint file, or one cut off"
    if isinstance(error, KeyError):
        return f"not a Lightning checkpoint ({text} is missing)"
    return None
