"""The command `hf-attn-faith`: parses, calls, prints; no science.

Nothing heavy is imported before it is known what is asked for, so that `--help` answers at once.
"""

import importlib
import io
import logging
import os
import re
import sys
from types import ModuleType

from ..errors import InputError
from . import parsing

# Each is a file of its own, `commands/NAME.py`.
COMMANDS = {
    "audit": "train base, uniform, seeds, adversaries and guided MLPs on a dataset; say what the evidence rules out",
    "train": "train one attention classifier",
    "adversary": "train a model-consistent adversary of a saved classifier",
    "predict": "write the prediction set of a saved classifier",
    "compare": "TVD and JSD of two prediction sets, by maximum attention and label",
    "attack": "text by text, the attention furthest from a saved classifier's that leaves its output alone",
    "permutation": "change of a saved classifier's output when its attention is shuffled",
    "importance": "agreement of a saved classifier's attention with gradients and with leave-one-out",
    "report": "render tables and figures of an audit again, finished or not, and say what they say; compare several",
    "app": "look at single texts on a local page: base, seeds, uniform models and adversaries side by side",
    "publish": "put an audit on the Hub: models with cards, tables, figures, prediction sets",
    "publish-metrics": "put the metrics jsd and tvd on the Hub, for evaluate.load",
}
RESUMABLE = ("audit", "publish", "publish-metrics")
SWEEPS = ("audit",)  # take several --config


def main(argv: list[str] | None = None) -> int:
    """Runs a command. Returns 0; 2 for a mistake of the user, 1 for a failure, told in one line; 130 if interrupted;
    141 if nobody reads its output any more."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every terminal has a λ
    options: list[str] = []
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(_usage())
            return 0
        if argv[0] == "--version":
            from .. import __version__

            print(__version__)
            return 0
        name, *rest = argv
        if name not in COMMANDS:
            close = parsing.suggestion(name, COMMANDS)
            raise InputError(f"unknown command `{name}`{close}; there are {', '.join(COMMANDS)}.")
        command = importlib.import_module(f".commands.{name.replace('-', '_')}", __package__)
        options = parsing.names(command.Options)
        if {"-h", "--help"} & set(rest):
            print(_parser(name, command).format_help(), end="")
            return 0
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise InputError(
                f"{name} runs in one process, and this is one of {os.environ['WORLD_SIZE']}: start it without a "
                "launcher. To train in several, call the trainers from Python under `accelerate launch`."
            )
        paths, given = parsing.parse(_parser(name, command), command.Options, command.PATHS, rest)
        from ..process import quiet_libraries

        quiet_libraries(logging.INFO)
        command.run(*paths, *given)
        sys.stdout.flush()
        return 0
    except InputError as error:
        return _say(_with_dashes(str(error), options), 2)
    except KeyboardInterrupt:
        resumed = "what was finished stays, and the same command goes on from there"
        return _say(f"interrupted; {resumed if argv[0] in RESUMABLE else 'nothing half-written is left'}.", 130)
    except BrokenPipeError:
        # Whoever read this has seen enough, as `head` does; nor is there anybody to read what is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        logging.getLogger("hf_attn_faith").debug("", exc_info=True)
        kind = type(error).__name__
        # These name their cause themselves.
        told = str(error) if kind in ("StageError", "ExecutorLost") else f"{kind}: {error}"
        return _say(_with_dashes(told, options), 1)


def _usage() -> str:
    return (
        "usage: hf-attn-faith COMMAND [options]      (hf-attn-faith COMMAND --help lists the options)\n\n"
        "May I read this model's attention as an explanation?\n\n"
        f"commands:\n{parsing.listed(COMMANDS)}\n\n"
        "Commands take --config FILE.yaml with the names of their\n"
        "options; options on the line override it."
    )


def _parser(name: str, command: ModuleType) -> parsing.Parser:
    examples = (command.__doc__ or "").strip()
    return parsing.Parser(command.Options, name, command.PATHS, COMMANDS[name], examples, name in SWEEPS)


def _with_dashes(message: str, options: list[str]) -> str:
    """The library names a parameter as `max_length`; whoever gave it on a command line knows it as --max_length."""

    def dashed(match: re.Match) -> str:
        name = match[1].replace("-", "_")
        return f"--{name}" if name in options else match[0]

    return re.sub(r"`([\w-]+)`", dashed, message)


def _say(message: str, code: int) -> int:
    print("hf-attn-faith: " + " ".join(message.split()), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
