"""Names of a package that are imported when somebody asks for them (PEP 562).

What reads files has no use for PyTorch, and help none for models: a package that imports all it offers would make both
wait for seconds, in every process that they start.
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def on_demand(package: str, file: str) -> Callable[[str], Any]:
    """A package's ``__getattr__``: offers what its file imports under ``if TYPE_CHECKING``.

    Args:
        package: its ``__name__``.
        file: its ``__file__``.

    Raises:
        AttributeError: from the returned function, for any other name.
    """

    @functools.cache
    def places() -> dict[str, str]:
        found = {}
        for block in ast.parse(Path(file).read_text(encoding="utf-8")).body:
            if isinstance(block, ast.If) and isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
                for line in block.body:
                    if isinstance(line, ast.ImportFrom) and line.module:
                        found.update({name.name: line.module for name in line.names})
        return found

    def get(name: str) -> Any:
        if name.startswith("__") or name not in places():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(places()[name]), name)

    return get
