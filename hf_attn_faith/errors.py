"""The one exception for a mistake in what the user gave."""


class InputError(ValueError):
    """Bad input: the message names the culprit (column, row, file, parameter) and the way out, in one line.

    Parameters stand in it as in Python, in backticks: `kl_weight`. The command line prints it without a traceback, its
    own options among them as `--kl_weight`, and exits with code 2.
    """
