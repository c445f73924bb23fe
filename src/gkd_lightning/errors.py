"""The one exception that means: the user can fix this; the nearest valid word; how a failure of ours ends its line."""

from collections.abc import Iterable

OURS = " (add --traceback for the stack)"
"""Ends the line of a failure that is not the user's, so that a parent process can tell the two apart."""


class UserError(Exception):
    """A user's mistake, told in one line: what is wrong, where (file, key, image), what to do.

    The command line prints the message without a stack and exits with status 2.
    """


class Terminated(KeyboardInterrupt):
    """SIGTERM, or a terminal that is gone: as Ctrl-C, but child processes were not told by the terminal."""


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The tail of a message: ``, did you mean 'alpha'?`` or the empty string."""
    import difflib  # for mistakes alone

    names = [str(name) for name in candidates]
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f", did you mean '{close[0]}'?" if close else ""
