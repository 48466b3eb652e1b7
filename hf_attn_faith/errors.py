"""The one exception for a mistake in what the user gave."""


class InputError(ValueError):
    """Bad input: the message names the culprit (column, row, file, option) and the way out, in one line.

    The command line prints it without a traceback and exits with code 2.
    """
