"""From a command line, and a YAML file, to a dataclass of options, with every mistake told in one line.

`HfArgumentParser` would do the first half, but to import it is to import transformers.
"""

import argparse
import difflib
from collections.abc import Iterable
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import yaml

from ..errors import InputError

PRESETS = Path(__file__).parent / "presets"
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


class Parser(argparse.ArgumentParser):
    """The options of a command.

    Args:
        options_class: a dataclass; every field becomes an option, in the group of the class that defines it.
        command: its name. paths: what stands before the options. does: what it does. examples: shown below the options.
    """

    def __init__(self, options_class: type, command: str, paths: tuple[str, ...], does: str, examples: str):
        super().__init__(
            prog=" ".join(["hf-attn-faith", command, *paths]),
            usage=" ".join(["hf-attn-faith", command, *paths, "[options]"]),
            description=f"{does[0].upper()}{does[1:]}.",
            epilog=examples,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )
        self.command = command
        self.add_argument("--config", action="append", help="YAML file of options; those on the line override it")
        if "keep_best_by" in names(options_class):
            presets = [path.stem for path in PRESETS.glob("*.yaml")]
            self.add_argument("--preset", choices=presets, help="settings by name; --config and the line override them")
        hints = get_type_hints(options_class)
        groups: dict[type, Any] = {}
        for field in fields(options_class):
            owner = next(c for c in reversed(options_class.__mro__) if field.name in vars(c).get("__annotations__", {}))
            if owner not in groups:
                title = (owner.__doc__ or "").split("\n")[0].rstrip(".")
                groups[owner] = self.add_argument_group(title)
            _add(groups[owner], field, hints[field.name])

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (hf-attn-faith {self.command} --help lists the options)")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def _get_help_string(self, action):
        default = action.default
        if default in (None, argparse.SUPPRESS, False) or default == [] or "default" in (action.help or ""):
            return action.help
        shown = " ".join(map(str, default)) if isinstance(default, list) else default
        return f"{action.help} [{shown}]"


def _add(group, field: Field, hint) -> None:
    default = field.default if field.default is not MISSING else field.default_factory()  # type: ignore[misc]
    flags = [f"--{field.name}"] + [f"--{field.name.replace('_', '-')}"] * ("_" in field.name)
    options: dict[str, Any] = {"help": field.metadata.get("help", "").replace("%", "%%"), "default": default}
    if get_origin(hint) is UnionType:  # X | None
        hint = next(choice for choice in get_args(hint) if choice is not NoneType)
    if get_origin(hint) is list:
        (hint,) = get_args(hint)
        options["nargs"] = "+"
    if get_origin(hint) is Literal:
        options |= {"choices": list(get_args(hint)), "type": str}
    elif hint is bool:
        options |= {"type": _boolean, "nargs": "?", "const": True, "metavar": "true|false"}
    else:
        options |= {"type": hint, "metavar": {int: "N", float: "X"}.get(hint, "TEXT")}
    group.add_argument(*flags, **options)
    if hint is bool and default is True:
        opposite = [flag.replace("--", "--no_" if "_" in flag else "--no-", 1) for flag in flags]
        names = dict.fromkeys([f"--no_{field.name}", *opposite])
        group.add_argument(*names, dest=field.name, action="store_false", help=argparse.SUPPRESS)


def _boolean(text: str) -> bool:
    if text.lower() in (*YES, *NO):
        return text.lower() in YES
    raise argparse.ArgumentTypeError(f"{text} is neither true nor false")


def names(options_class: type) -> list[str]:
    """The options of a command, without dashes."""
    return [field.name for field in fields(options_class)] if is_dataclass(options_class) else []


def parse(parser: Parser, options_class: type, paths: tuple[str, ...], argv: list[str]) -> tuple[list[str], Any]:
    """The paths that a command begins with, and its options, from its --config and its line.

    Raises:
        InputError: what does not fit.
    """
    before = next((number for number, token in enumerate(argv) if token.startswith("-")), len(argv))
    given_paths, argv = (argv[:before], argv[before:]) if paths else ([], argv)
    if len(given_paths) != len(paths):
        raise InputError(f"usage: {parser.usage}.")
    known = names(options_class)
    for token in argv:
        name = token.removeprefix("--").split("=")[0].replace("-", "_")
        if (
            token.startswith("--")
            and name not in (*known, "config", "preset")
            and name.removeprefix("no_") not in known
        ):
            raise InputError(f"unknown option {token.split('=')[0]}{suggestion(name, known, '--')}.")
    given = vars(parser.parse_args(argv))
    if len(given["config"] or []) > 1:
        parser.error("--config is given twice: put all settings into one file")
    files = [PRESETS / f"{given['preset']}.yaml"] if given.get("preset") else []
    tokens: list[str] = []
    for path in files + (given["config"] or []):
        settings = _read_config(path, options_class)
        parser.set_defaults(**{name: None for name, value in settings.items() if value is None})
        tokens += [token for name, value in settings.items() for token in _tokens(name, value)]
        try:
            parser.parse_args(tokens)
        except InputError as error:
            raise InputError(f"--config {path}: {error}") from error
    given = vars(parser.parse_args(tokens + argv))
    return given_paths, options_class(**{name: given[name] for name in known})


def _read_config(path: str | Path, options_class: type) -> dict[str, Any]:
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
        settings = yaml.load(text, _Loader) or {}
    except OSError as error:
        raise InputError(f"--config {path} cannot be read ({error.strerror}): give a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path} is not valid YAML ({' '.join(str(error).split())}): repair it.") from error
    if not isinstance(settings, dict):
        raise InputError(f"--config {path} is no mapping: give a line `option: value` for every option.")
    settings = {str(name).replace("-", "_"): value for name, value in settings.items()}
    hints = get_type_hints(options_class)
    for name, value in settings.items():
        if name not in hints:
            raise InputError(f"--config {path} has an unknown option `{name}`{suggestion(name, hints)}.")
        if isinstance(value, dict):
            raise InputError(f"--config {path}: {name} is a mapping: give one value, or a list of them.")
    # null is "none" where an option may be, and "not given" elsewhere.
    return {n: value for n, value in settings.items() if value is not None or NoneType in get_args(hints[n])}


class _Loader(yaml.SafeLoader):
    """Reads every value as it is written: `no` may be a label, 1e-3 is a number, and which it is the option knows."""


_Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in resolvers if tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _tokens(name: str, value) -> list[str]:
    """A setting as the tokens of a command line, so that both are checked by the same parser."""
    if value is None:
        return []
    return [f"--{name}", *map(str, value)] if isinstance(value, list) else [f"--{name}={value}"]


def suggestion(word: str, words: Iterable[str], prefix: str = "") -> str:
    close = difflib.get_close_matches(word, list(words), 1)
    return f" (did you mean {prefix}{close[0]}?)" if close else ""
