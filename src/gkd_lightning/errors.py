"""The one exception that means: the user can fix this."""


class UserError(Exception):
    """A user's mistake, told in one line: what is wrong, where (file, key, image), what to do.

    The command line prints the message without a stack and exits with status 2.
    """
