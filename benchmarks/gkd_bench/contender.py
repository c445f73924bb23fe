"""What is timed: a named way to do some work, made by a function, in a process of its own."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from gkd_lightning.errors import UserError


@runtime_checkable
class Workload(Protocol):
    """Work that can be repeated."""

    def step(self) -> int:
        """Do it once, to the end (a GPU's queue need not be empty); returns how many images that were."""
        ...


@dataclass(frozen=True)
class Contender:
    """One row of a comparison.

    Attributes:
        name: for people, such as ``masked half only``.
        target: what makes the `Workload`: ``package.module:function``, or ``path/to/file.py:function`` for code that
            is no part of this package.
        options: arguments of that function besides `device` (``cpu`` or ``cuda``), plain JSON values.
        threads: CPU threads; None for as many as torch takes.
    """

    name: str
    target: str
    options: dict[str, Any] = field(default_factory=dict)
    threads: int | None = None


@dataclass(frozen=True)
class Comparison:
    """Contenders that do the same work in turns; the first is what the others are measured against.

    Attributes:
        name: id in tables and on the command line, such as ``stage1a``.
        title: headline.
        contenders: at least one.
        same_loss: relative difference of the contenders' first losses that is still the same; None where they differ
            by design. Workloads that can say it have a method ``loss() -> float``.
        unit: what a step counts.
    """

    name: str
    title: str
    contenders: tuple[Contender, ...]
    same_loss: float | None = None
    unit: str = "images"


def build(contender: Contender, device: str) -> Workload:
    """Make a contender's work.

    Raises:
        UserError: there is no such function, or it makes no workload.
    """
    workload = _function(contender.target)(device=device, **contender.options)
    if not isinstance(workload, Workload):
        raise UserError(f"{contender.target}: made a {type(workload).__name__}, which has no method step()")
    return workload


def _function(target: str) -> Callable[..., Any]:
    place, _, name = target.rpartition(":")
    if place.endswith(".py"):
        module = _from_file(Path(place))
    else:
        try:
            module = importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name and place.startswith(error.name):
                raise UserError(f"{target}: no such module") from error
            raise
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"{target}: no such function")
    made: Callable[..., Any] = function
    return made


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(f"gkd_bench_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
