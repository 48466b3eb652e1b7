"""Tables from text files, every line of them accounted for: what is wrong with one is said with its number."""

import codecs
import csv
import io
import itertools
import json
import logging
import re

from ..errors import InputError, shortened
from ..process import allow_long_cells

logger = logging.getLogger(__name__)

SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}
# The longer ones first: UTF-16's is the beginning of UTF-32's.
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What files called .csv or .json turn out to be, by their first bytes.
NO_TEXT = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "compressed with gzip",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ": "compressed with xz",
    b"PAR1": "parquet",
    b"ARROW1": "an Arrow file",
    b"SQLite": "a database",
    b"%PDF": "a PDF",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}


def refuse_other_format(content: bytes, name: str) -> None:
    """Raises an InputError where the first bytes of a file are those of something that its name does not say."""
    if content.startswith(b"version https://git-lfs"):
        raise InputError(f"{name} is a pointer of Git LFS and not the file itself: fetch that with git lfs pull.")
    for start, what in NO_TEXT.items():
        if content.startswith(start):
            raise InputError(f"{name} is {what}: give it the ending that says so, or save it as text.")


def decoded(content: bytes, name: str, encoding: str | None) -> str:
    """The text of a file: in the given encoding, that of its byte-order mark, or UTF-8."""
    refuse_other_format(content, name)
    if encoding is None:
        encoding = next((e for mark, e in BYTE_ORDER_MARKS.items() if content.startswith(mark)), None)
    if encoding is None:  # UTF-16 without a mark: every other byte of Latin letters is zero
        encoding = {(False, True): "utf-16-le", (True, False): "utf-16-be"}.get(
            (content[:1] == b"\0", content[1:2] == b"\0"), "utf-8"
        )
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise InputError(f"encoding {encoding} is unknown: give one such as utf-8, cp1252 or utf-16.") from error
    except UnicodeError as error:
        line = content[: getattr(error, "start", 0)].count(b"\n") + 1
        raise InputError(
            f"{name}, line {line} is not {encoding.upper()}: save the file as UTF-8 or name its encoding, such as "
            "cp1252 (Western European) or gb18030 (Chinese)."
        ) from error


# Separated values


def read_csv(content: bytes, name: str, encoding: str | None = None, tab: bool = False) -> dict[str, list[str | None]]:
    """The columns of a file of separated values, every cell as it is written: a text such as "2012" or "null" stays
    one; an empty cell is None.

    Args:
        content, name: the file.
        encoding: see `decoded`.
        tab: cells are separated by tabs and hold quotation marks as they are.

    Raises:
        InputError: a row with more or fewer cells than the header; a quotation mark that swallows rows.
    """
    allow_long_cells()
    lines = io.StringIO(decoded(content, name, encoding), newline="")
    head = list(itertools.islice(lines, 100))
    preamble, separator = _preamble(head, name)
    head = head[preamble:]
    if not any(line.strip() for line in head):
        raise InputError(f"{name} is empty: give texts and labels.")
    if separator is None:
        separator = _separator(head, "\t" if tab else ",")
    if separator != ("\t" if tab else ","):
        logger.warning("%s: cells are separated by %s.", name, SEPARATOR_NAMES.get(separator, repr(separator)))
    quoting = csv.QUOTE_NONE if tab and separator == "\t" else csv.QUOTE_MINIMAL
    options = {
        "delimiter": separator,
        "quoting": quoting,
        "strict": True,
        "skipinitialspace": re.search(rf"{re.escape(separator)} +\S", next(filter(str.strip, head))) is not None,
    }
    records = _records(itertools.chain(head, lines), name, preamble, options)
    _, header, _ = next(records)
    header = [cell.strip() or f"Unnamed: {number}" for number, cell in enumerate(header)]
    rows, suspects = [], []
    for line, cells, physical in records:
        if len(cells) != len(header):
            raise InputError(_wrong_number(name, line, len(cells), len(header), separator, quoting))
        if len(physical) > 1:
            suspects.append((line, [part.rstrip("\r\n") for part in physical]))
        rows.append(cells)
    _refuse_swallowed(name, len(header), rows, suspects, separator)
    if quoting == csv.QUOTE_NONE:
        _tell_of_quoted(name, rows)
    if len(set(header)) < len(header):
        twice = next(cell for number, cell in enumerate(header) if cell in header[:number])
        raise InputError(f"{name} has two columns called {shortened(twice, 60)}{_headless(header, rows)}: rename one.")
    return {column: [cells[i] or None for cells in rows] for i, column in enumerate(header)}


def _tell_of_quoted(name: str, rows: list[list[str]]) -> None:
    """Tells of cells that a spreadsheet seems to have quoted: marks around them, and all those inside are doubled."""
    number = sum(bool(re.fullmatch(r'"([^"]|"")*""([^"]|"")*"', cell)) for cells in rows for cell in cells)
    if number:
        logger.warning(
            "%s: quotation marks are kept as they are, and %d cells look as if they were put around a text whose own "
            "are doubled: give the file the ending .csv where they do not belong to it.",
            name,
            number,
        )


def _preamble(head: list[str], name: str) -> tuple[int, str | None]:
    """How many lines precede the header, and the separator where one of them says it, as Excel does."""
    for number, line in enumerate(head):
        if said := re.fullmatch(r"sep=(.)\s*", line):
            return number + 1, said[1]
        following = next((other for other in head[number + 1 :] if other.strip()), "")
        comment = line.startswith("#") and not any(separator in line for separator in SEPARATORS)
        if not (comment and any(separator in following for separator in (*SEPARATORS, "#"))):
            if number:
                logger.warning("%s: the comment above its header is not read (%d lines).", name, number)
            return number, None
    return 0, None


def _separator(head: list[str], default: str) -> str:
    """The separator by which the first rows have as many cells as the header, and the header several."""
    fitting = []
    for separator in dict.fromkeys((default, *SEPARATORS)):
        counts = [len(cells) for cells in csv.reader(head, delimiter=separator) if cells]
        # The last one may be cut off.
        if counts[0] > 1 and len(set(counts[:-1] if len(head) == 100 else counts)) == 1:
            fitting.append(separator)
    if default in fitting or not fitting:
        first = next(filter(str.strip, head))
        header = next(csv.reader([first], delimiter=default))
        others = [separator for separator in SEPARATORS if separator != default and separator in first]
        return others[0] if not fitting and len(header) == 1 and len(others) == 1 else default
    return fitting[0]


def _records(lines, name: str, skipped: int, options: dict):
    """Number of the first line, cells, and the lines themselves, of every record that is not blank."""
    physical: list[str] = []

    def tapped():
        for line in lines:
            physical.append(line)
            yield line

    reader = csv.reader(tapped(), **options)
    first = skipped + 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise InputError(
                f"{name}, line {first}: a quotation mark opens a cell and does not close it "
                f"({shortened(str(error), 60)}): close it, and double those inside a cell."
            ) from error
        if cells is None:
            return
        if cells:
            yield first, cells, physical[:]
        first += len(physical)
        physical.clear()


def _wrong_number(name, line, cells, expected, separator, quoting) -> str:
    out = (
        "put quotes around a text that contains one"
        if quoting != csv.QUOTE_NONE
        else "in tab-separated files quotes do not join cells; save it as .csv where they should"
    )
    return (
        f"{name}, line {line} has {cells} cell{'s' * (cells != 1)}, the header {expected} (separated by "
        f"{SEPARATOR_NAMES.get(separator, repr(separator))}): {out}, or repair the row."
    )


def _refuse_swallowed(name: str, width: int, rows: list[list[str]], suspects: list, separator: str) -> None:
    """Refuses a quoted cell whose lines are rows themselves: a mark that opens before one and closes after another.

    They are where a column of few values, as labels are, has one of these in all of them.
    """
    if not suspects:
        return
    whole = [cells for cells in rows if not any("\n" in cell or "\r" in cell for cell in cells)]
    for i in range(width):
        said = {cells[i].strip() for cells in whole} - {""}
        if len(said) > len(whole) / 2:
            continue
        for line, parts in suspects:
            if all(_cell(part, i, width, separator) in said for part in parts):
                raise InputError(
                    f"{name}, line {line}: a quotation mark opens there and closes only {len(parts) - 1} lines "
                    "further, and the lines between look like rows: close it, or double it."
                )


def _cell(line: str, i: int, width: int, separator: str) -> str | None:
    """A cell of a line whose quotation marks mean nothing; the first and the last are known in any case."""
    cells = line.split(separator)
    if len(cells) == 1 or (len(cells) != width and 0 < i < width - 1):
        return None
    return cells[i if i < width - 1 else -1].strip().strip('"').strip()


def _headless(header: list[str], rows: list[list[str]]) -> str:
    """What to say where the first line seems to be a row and no header."""
    for number, cell in enumerate(header):
        below = {cells[number].strip() for cells in rows}
        if cell in below and len(below) < len(rows):
            return f" (its first line looks like a row and no header, as {shortened(cell, 30)} stands below it too)"
    return ""


# JSON


def read_json(content: bytes, name: str, encoding: str | None = None) -> dict[str, list]:
    """The columns of JSON lines, of a list of objects, or of an object of columns (as pandas writes one).

    Raises:
        InputError: a line that is no object; an object of anything else.
    """
    text = decoded(content, name, encoding)
    if not text.strip():
        raise InputError(f"{name} is empty: give texts and labels.")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # several values, a line each
        value = [_parsed(line, name, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        places = [number for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        what = "line"
    else:
        if isinstance(value, dict):
            if columns := _columns_of_object(value, name):
                return columns
            value = [value]
        places, what = range(len(value)) if isinstance(value, list) else (), "row"
    if not isinstance(value, list):
        raise InputError(f"{name} holds {shortened(repr(value), 40)} and no rows: give a list of objects.")
    if value in ([], [{}]):
        raise InputError(f"{name} is empty: give texts and labels.")
    for place, row in zip(places, value, strict=True):
        if not isinstance(row, dict):
            raise InputError(
                f"{name}, {what} {place} holds {shortened(json.dumps(row), 40)} and no object: give one a row, such as "
                '{"text": "…", "label": "…"}.'
            )
    columns = dict.fromkeys(str(key).strip() for row in value for key in row)
    stripped = [{key.strip(): cell for key, cell in row.items()} for row in value]
    return {column: [row.get(column) for row in stripped] for column in columns}


def _parsed(line: str, name: str, number: int):
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}, line {number} is no JSON ({shortened(str(error), 80)}): repair it.") from error


def _columns_of_object(value: dict, name: str) -> dict[str, list] | None:
    """The columns of {column: {row: cell}} or {column: [cell]}; None where it is one row."""
    if value and all(isinstance(cells, dict) for cells in value.values()):
        rows = list(next(iter(value.values())))
        if all(set(cells) == set(rows) for cells in value.values()):
            return {column.strip(): [cells[row] for row in rows] for column, cells in value.items()}
    elif value and all(isinstance(cells, list) for cells in value.values()):
        if len({len(cells) for cells in value.values()}) == 1 and not {"columns", "data"} <= set(value):
            return {column.strip(): cells for column, cells in value.items()}
    elif not any(isinstance(cells, list) and cells and isinstance(cells[0], dict) for cells in value.values()):
        return None
    keys = shortened(", ".join(value), 60)
    raise InputError(
        f"{name} holds one object ({keys}) and no rows: save it as a list of objects, or one a line "
        '(in pandas, orient="records").'
    )
