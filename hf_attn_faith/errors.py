"""The one exception for a mistake in what the user gave."""


class InputError(ValueError):
    """Bad input: the message names the culprit (column, row, file, parameter) and the way out, in one line.

    Parameters stand in it as in Python, in backticks: `kl_weight`. The command line prints it without a traceback, its
    own options among them as `--kl_weight`, and exits with code 2.
    """


def shortened(text: str, length: int) -> str:
    """In one line, of so many characters at most."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
