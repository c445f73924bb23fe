"""From the name of a class, as configurations and records hold it, to the class."""

from __future__ import annotations

import importlib
from typing import TypeVar

from gkd_lightning.errors import UserError

T = TypeVar("T")


def class_path(kind: type) -> str:
    """Its dotted name, which `imported` understands."""
    return f"{kind.__module__}.{kind.__qualname__}"


def imported(name: str, expected: type[T], where: str) -> type[T]:
    """The class of a dotted name.

    Args:
        name: module and class, such as ``my_teacher.MyTeacher``.
        expected: what it has to be derived from.
        where: key or file that names it, for messages.

    Raises:
        UserError: there is no such class, or it is something else.
    """
    module, _, last = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), last)
    except (ImportError, AttributeError, ValueError) as error:
        told = " ".join(str(error).split())[:200]
        raise UserError(
            f"{where}: {name} cannot be imported ({told}); a file of yours is found from the folder that holds it"
        ) from error
    if not (isinstance(found, type) and issubclass(found, expected)):
        raise UserError(f"{where}: {name} is not derived from {class_path(expected)}")
    return found
