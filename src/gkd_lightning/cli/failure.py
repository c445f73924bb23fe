"""Any exception in one line, with the exit status that it deserves."""

from __future__ import annotations

import errno
import os

from gkd_lightning.errors import OURS, UserError

USER_MISTAKE = 2
OUR_MISTAKE = 1

_NO_ROOM = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "your quota of the disk is used up",
    errno.EFBIG: "a file would be larger than is allowed here (ulimit -f)",
}


def message_and_status(error: BaseException) -> tuple[str, int]:
    """One line for the terminal, and 2 for what the user can fix, 1 for what we should."""
    for cause in _chain(error):
        if isinstance(cause, UserError):
            return _one_line(cause), USER_MISTAKE
        for number, what in _NO_ROOM.items():
            if getattr(cause, "errno", None) == number or os.strerror(number) in str(cause):
                where = f"{cause.filename}: " if isinstance(cause, OSError) and cause.filename else ""
                return f"{where}{what}; nothing was left half-written", USER_MISTAKE
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror or _one_line(error)}", USER_MISTAKE
    if "out of memory" in str(error).lower():
        return "out of memory: lower data.batch_size or data.image_size", USER_MISTAKE
    return f"{type(error).__name__}: {_one_line(error)[:300]}{OURS}", OUR_MISTAKE


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
