"""The one exception that means: the user can fix this; and how a failure that is ours ends its line."""

OURS = " (add --traceback for the stack)"
"""Ends the line of a failure that is not the user's, so that a parent process can tell the two apart."""


class UserError(Exception):
    """A user's mistake, told in one line: what is wrong, where (file, key, image), what to do.

    The command line prints the message without a stack and exits with status 2.
    """
