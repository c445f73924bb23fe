"""From the name of a class, as configurations and records hold it, to the class, and back."""

from __future__ import annotations

import importlib
import inspect
import json
from dataclasses import asdict, is_dataclass
from typing import Any, Self, TypeVar

from gkd_lightning.errors import UserError
from gkd_lightning.ranges import Ranged

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


class Recorded(Ranged):
    """A part that is rebuilt from its class and the arguments of its constructor, which are plain values."""

    _arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep what the constructor is called with, so that no part needs to write its own record."""
        part = super().__new__(cls, *args, **kwargs)
        part.__dict__["_arguments"] = _named(inspect.signature(cls.__init__), (part, *args), kwargs)
        return part

    @property
    def record(self) -> dict[str, Any]:
        """``class_path`` and ``init_args``; settings in a dataclass become a mapping."""
        plain = {
            name: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
            for name, value in self._arguments.items()
        }
        return {"class_path": class_path(type(self)), "init_args": plain}

    def check_record(self, where: str) -> None:
        """Refuse arguments that no record can hold.

        Args:
            where: key of the configuration, for the message.

        Raises:
            UserError: one is no plain value.
        """
        try:
            json.dumps(self.record)
        except TypeError as error:
            told = f"arguments of {type(self).__name__} must be plain values, they are written down ({error})"
            raise UserError(f"{where}: {told}") from error


def _named(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a call by name, defaults included; nothing for a call that fails."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:  # a copy is made without arguments; a wrong call fails in the constructor, which says why
        return {}
    bound.apply_defaults()
    (_, *parameters), named = signature.parameters.values(), {}
    for parameter in parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            named.update(bound.arguments[parameter.name])
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            named[parameter.name] = bound.arguments[parameter.name]
    return named
