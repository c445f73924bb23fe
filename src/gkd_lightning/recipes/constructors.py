"""Whatever a constructor raises while a configuration is built, told with the key of the object."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gkd_lightning.errors import UserError
from gkd_lightning.ranges import class_of

_THEIRS = (UserError, ValueError, TypeError, LookupError, RuntimeError, OSError, ImportError)
"""What is raised for arguments that cannot be; anything else is a mistake in the code."""


@contextmanager
def told_by_key(config: Mapping[str, Any], roots: Mapping[str, type]) -> Iterator[None]:
    """Turn exceptions of constructors into one line each.

    Args:
        config: plain values, as parsed.
        roots: class behind each section that names none, such as ``{"trainer": Trainer}``.

    Raises:
        UserError: names the key of the innermost object of the configuration that was being built.
    """
    try:
        yield
    except _THEIRS as error:
        places = {kind: (name, config.get(name)) for name, kind in roots.items()}
        for kind, key, values in _objects(config, ""):
            places.setdefault(kind, (key, values))
        chain = list(_chain(error))
        frames = [frame for link in chain for frame, _ in traceback.walk_tb(link.__traceback__)]
        kinds = [type(frame.f_locals.get("self")) for frame in reversed(frames)]
        key, values = next((places[kind] for kind in kinds if kind in places), ("", None))
        if not key or not isinstance(chain[-1], _THEIRS) or "out of memory" in str(error):
            raise chain[-1] from None
        for link in chain:
            if isinstance(link, UserError):
                raise UserError(_with_key(str(link), key, values)) from error
        message = " ".join(str(chain[-1]).split()) or "no reason given"
        raise UserError(f"{key}: {type(chain[-1]).__name__}: {message[:300]}") from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and its causes, down to the one that the parser has wrapped."""
    while error is not None:
        yield error
        last = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
        error = error.__cause__ if last.f_globals["__name__"].startswith("jsonargparse.") else None


def _objects(value: Any, key: str) -> Iterator[tuple[type, str, Any]]:
    """Class, key and arguments of every object, outer ones first."""
    if isinstance(value, list):
        for item in value:
            yield from _objects(item, key)
    if isinstance(value, Mapping):
        inner = value
        if "class_path" in value:
            inner = value.get("init_args") or {}
            yield class_of(value), key, inner
        for name, item in inner.items():
            yield from _objects(item, f"{key}.{name}" if key else name)


def _with_key(message: str, key: str, values: Any) -> str:
    """A message of our own after the key of its object; it may begin with the name of an argument."""
    if message.startswith(key.partition(".")[0]):
        return message
    if re.split(r"\W", message)[0] in values:
        return f"{key}.{message}"
    return f"{key}: {message}"
