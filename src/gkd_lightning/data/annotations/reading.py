"""What the readers of annotation files share: JSON, and mistakes in one line that names file and record."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gkd_lightning.data import archives
from gkd_lightning.data.annotations.shapes import Damaged
from gkd_lightning.errors import UserError

_OTHER_THAN_EXPECTED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)


@contextmanager
def record_of(file: str | os.PathLike[str], record: str) -> Iterator[None]:
    """What goes wrong inside becomes one line that names file and record.

    Raises:
        UserError: something is damaged, or other than the tool writes it.
    """
    try:
        yield
    except Damaged as error:
        raise UserError(f"{os.fspath(file)}: {record}: {error}; repair or remove it") from error
    except _OTHER_THAN_EXPECTED as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else f"is not as the tool writes it ({error})"
        raise UserError(f"{os.fspath(file)}: {record}: {reason}; export it again") from error


def text_of(path: str | os.PathLike[str]) -> str:
    """A file's text, wherever it lies.

    Raises:
        UserError: no such file, or no text.
    """
    try:
        return archives.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{os.fspath(path)}: is no text in UTF-8 ({error.reason}); export it again") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{os.fspath(path)}: cannot be read ({reason})") from error


def json_of(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: no such file, or no whole JSON.
    """
    with unwatched():
        try:
            return json.loads(text_of(path))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{os.fspath(path)}: is no whole JSON ({error}); export it again") from error


@contextmanager
def unwatched() -> Iterator[None]:
    """Without the search for circles, which looks at millions of objects again and again while they are made."""
    watched = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if watched:
            gc.enable()


def whole(value: Any, what: str) -> int:
    """A whole number that a file gives as such, or as text.

    Raises:
        Damaged: it is none.
    """
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise Damaged(f"{what} {value!r} is no whole number") from error
    if number != float(value):
        raise Damaged(f"{what} {value!r} is no whole number")
    return number
