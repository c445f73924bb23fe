"""Names of a package that are imported when somebody asks for them (PEP 562).

What reads files has no use for PyTorch, and help none for models: a package that imports all it offers would make both
wait for seconds, in every process that they start.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def on_demand(package: str, places: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """A package's ``__getattr__``.

    Args:
        package: its ``__name__``.
        places: names by the submodule that defines them.

    Raises:
        AttributeError: from the returned function, for any other name.
    """
    modules = {name: module for module, names in places.items() for name in names}

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{modules[name]}"), name)

    return get
