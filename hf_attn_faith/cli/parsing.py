"""From a command line, and a YAML file, to a dataclass of options, with every mistake told in one line.

`HfArgumentParser` would do part of it, but to import it is to import transformers. `argparse` takes the line apart and
writes the help; what is written there, as what is written in the file, then becomes the types of the dataclass.
"""

import argparse
import difflib
import shutil
import textwrap
from collections.abc import Iterable
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, get_args, get_origin, get_type_hints

import yaml

from ..arguments import expand_path, of_no_use
from ..errors import InputError, shortened

PRESETS = Path(__file__).parent / "presets"
YES, NO = ("true", "t", "yes", "y", "on", "1"), ("false", "f", "no", "n", "off", "0")


class Parser(argparse.ArgumentParser):
    """The options of a command.

    Args:
        options_class: a dataclass. Every field becomes an option, in the group of the class that brings it; those that
            have to be given come first.
        command: its name. does: what it does. examples: shown below the options.
        paths: what stands before the options; one that ends in ... stands for itself and any number more.
        several: whether it takes several --config.
    """

    def __init__(
        self, options_class: type, command: str, paths: tuple[str, ...], does: str, examples: str, several: bool
    ):
        self.command, self.several, self.flags = command, several, {"--help"}
        super().__init__(
            usage=" ".join(["hf-attn-faith", command, *paths, "[options]"]),
            description=textwrap.fill(f"{does[0].upper()}{does[1:]}.", _width()),
            epilog=examples,
            formatter_class=_formatter,
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
        )
        hints = get_type_hints(options_class)
        groups: dict[str, Any] = {}
        for field in sorted(fields(options_class), key=lambda field: not _required(field, hints[field.name])):
            owner = next(c for c in reversed(options_class.__mro__) if field.name in vars(c).get("__annotations__", {}))
            title = (owner.__doc__ or "").split("\n")[0].rstrip(".")
            if _required(field, hints[field.name]):
                title = "Required"
            if title not in groups:
                groups[title] = self.add_argument_group(title)
            self._add(groups[title], field, hints[field.name])
        if hints:
            self.flags.add("--config")
            text = "YAML file of options; those on the line override it. (Here, defaults stand in brackets.)"
            if several:
                text = f"One {command} or several, a {text}"
            self.add_argument("--config", action="extend", nargs="+" if several else 1, metavar="FILE", help=text)
        presets = [
            path.stem
            for path in sorted(PRESETS.glob("*.yaml"))
            if yaml.safe_load(path.read_text()).keys() <= hints.keys()
        ]
        if presets:
            self.flags.add("--preset")
            self.add_argument(
                "--preset", choices=presets, help="Settings by name; --config and the line override them."
            )

    def _add(self, group, field: Field, hint) -> None:
        default = field.default if field.default is not MISSING else field.default_factory()  # type: ignore[misc]
        hint, flag = _without_none(hint), f"--{field.name}"
        options: dict[str, Any] = {"help": field.metadata["help"].replace("%", "%%") + _shown(field.name, default)}
        if get_origin(hint) is list:
            (hint,) = get_args(hint)
            options["nargs"] = "+"
        if get_origin(hint) is Literal:
            options["metavar"] = f"{{{','.join(get_args(hint))}}}"
        elif hint is bool:
            options |= {"nargs": "?", "const": "true", "metavar": "true|false"}
        else:
            options["metavar"] = "PATH" if field.metadata["path"] else {int: "N", float: "X"}.get(hint, "TEXT")
        group.add_argument(flag, **options)
        self.flags.add(flag)
        if default is True:
            opposite = f"--no_{field.name}"
            group.add_argument(opposite, dest=field.name, action="store_const", const="false", help=argparse.SUPPRESS)
            self.flags.add(opposite)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (hf-attn-faith {self.command} --help lists the options)")


def _width() -> int:
    return min(shutil.get_terminal_size().columns - 2, 110)


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=_width())


def _shown(name: str, default) -> str:
    """A default as it stands in the help; what is off by default, and None, whose text says what it means, is left."""
    if default is None or default is False:
        return ""
    if default is True:
        return f" [true; --no_{name} for false]"
    return f" [{' '.join(map(str, default)) if isinstance(default, list) else default}]"


def listed(commands: dict[str, str]) -> str:
    """The commands, and what each does."""
    column = max(map(len, commands)) + 4
    return "\n".join(
        textwrap.fill(does, _width(), initial_indent=f"  {name}".ljust(column), subsequent_indent=" " * column)
        for name, does in commands.items()
    )


def _without_none(hint):
    return next(kind for kind in get_args(hint) if kind is not NoneType) if get_origin(hint) is UnionType else hint


def _required(field: Field, hint) -> bool:
    """None is its default, and no value of it."""
    return field.default is None and NoneType not in get_args(hint)


def names(options_class: type) -> list[str]:
    """The options of a command, without dashes."""
    return [field.name for field in fields(options_class)] if is_dataclass(options_class) else []


def parse(parser: Parser, options_class: type, paths: tuple[str, ...], argv: list[str]) -> tuple[list[str], list[Any]]:
    """The paths that a command begins with, and its options, from its line and its --config: for each file one.

    Raises:
        InputError: what does not fit.
    """
    before = next((number for number, token in enumerate(argv) if token.startswith("-")), len(argv))
    given_paths, argv = (argv[:before], argv[before:]) if paths else ([], argv)
    if len(given_paths) < len(paths) or (len(given_paths) > len(paths) and not paths[-1].endswith("...")):
        raise InputError(f"usage: {parser.usage}.")
    paths = (*paths, *paths[-1:] * (len(given_paths) - len(paths)))
    given_paths = [expand_path(name.rstrip("."), path) for name, path in zip(paths, given_paths, strict=True)]
    argv = [_with_underscores(token) for token in argv]
    for token in argv:
        flag = token.partition("=")[0]
        if flag.startswith("--") and flag not in parser.flags:
            raise InputError(f"unknown option {flag}{suggestion(flag, parser.flags)}.")
    on_the_line = vars(parser.parse_args(argv))
    files = on_the_line.pop("config", [])
    if len(files) > 1 and not parser.several:
        parser.error("--config is given twice: put all settings into one file")
    hints = get_type_hints(options_class)
    preset: dict[str, Any] = {}
    if name := on_the_line.pop("preset", None):
        preset = _read_config(str(PRESETS / f"{name}.yaml"), hints)
    line = {name: _value(name, hints[name], written) for name, written in on_the_line.items()}
    if len(files) > 1 and "output_dir" in line:
        raise InputError("`output_dir` on the line is that of one audit: name one in each --config instead.")
    configs = [_read_config(path, hints) for path in files] or [{}]
    return given_paths, [options_class(**_fitting(preset, config | line) | config | line) for config in configs]


def _fitting(preset: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What of a preset has a use: it is for LSTMs as for transformers."""
    unused = of_no_use(given)
    return {name: value for name, value in preset.items() if name not in unused}


def _with_underscores(token: str) -> str:
    """--kl-weights is --kl_weights."""
    if not token.startswith("--"):
        return token
    name, equals, value = token.removeprefix("--").partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _value(name: str, hint, written) -> Any:
    """What is written for an option, a string or a list of them, as its type."""
    hint = _without_none(hint)
    if get_origin(hint) is list:
        if written == []:
            raise InputError(f"`{name}` is an empty list: give at least one value.")
        return [_value(name, get_args(hint)[0], one) for one in (written if isinstance(written, list) else [written])]
    if isinstance(written, (list, dict, NoneType)):
        kind = {list: "a list", dict: "a mapping", NoneType: "empty"}[type(written)]
        raise InputError(f"`{name}` is {kind} where one value belongs: give one.")
    written = str(written)
    said = f"`{name}` {shortened(written, 60)}"
    if get_origin(hint) is Literal:
        if written not in get_args(hint):
            raise InputError(f"{said} is unknown: take one of {', '.join(get_args(hint))}.")
        return written
    if hint is bool:
        if written.lower() not in (*YES, *NO):
            raise InputError(f"{said} is neither true nor false.")
        return written.lower() in YES
    try:
        return hint(written)
    except ValueError as error:
        raise InputError(f"{said} is no {'whole ' if hint is int else ''}number.") from error


def _read_config(path: str, hints: dict[str, Any]) -> dict[str, Any]:
    """The options of a file. null is "none" where an option may be, and "not given" elsewhere."""
    try:
        text = Path(expand_path("config", path)).read_text(encoding="utf-8-sig")
        settings = yaml.load(text, _Loader) or {}
    except OSError as error:
        raise InputError(f"--config {path} cannot be read ({error.strerror}): give a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = shortened(str(error), 200)
        raise InputError(f"--config {path} is not valid YAML ({reason}): repair it.") from error
    if not isinstance(settings, dict):
        raise InputError(f"--config {path} is no mapping: give a line `option: value` for every option.")
    given: dict[str, Any] = {}
    for key, written in settings.items():
        name = str(key).replace("-", "_")
        if name not in hints:
            raise InputError(f"--config {path} has an unknown option `{name}`{suggestion(name, hints)}.")
        try:
            if written is not None:
                given[name] = _value(name, hints[name], written)
            elif NoneType in get_args(hints[name]):
                given[name] = None
        except InputError as error:
            raise InputError(f"--config {path}: {error}") from error
    return given


class _Loader(yaml.SafeLoader):
    """Reads every value as it is written: `no` may be a label, 1e-3 is a number, and which it is the option knows."""

    def construct_mapping(self, node, deep=False):
        keys = [str(key.value).replace("-", "_") for key, _ in node.value]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.YAMLError(f"{twice} is given twice")
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in resolvers if tag in ("tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def suggestion(word: str, words: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, sorted(words), 1)
    return f" (did you mean {close[0]}?)" if close else ""
