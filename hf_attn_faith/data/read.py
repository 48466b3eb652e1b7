"""The splits of a dataset as they are written: from files, a folder of `save_to_disk`, memory, or the Hub."""

import bz2
import glob
import gzip
import logging
import lzma
import re
import shutil
import tempfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import datasets
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from datasets.data_files import FILES_TO_IGNORE

from ..errors import InputError, shortened
from .planted import planted
from .text_files import decoded, read_csv, read_json, refuse_other_format

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
SPLIT_OF_WORD = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",  # as `datasets` takes them
}  # fmt: skip
FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv", ".tsv": "csv",
    ".jsonl": "json", ".json": "json", ".ndjson": "json",
    ".txt": "text",
}  # fmt: skip
OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
# Columns that may say the split of a row, in files that hold all of them.
SPLIT_COLUMNS = ("split", "exp_split", "set", "fold", "subset", "partition", "data_split", "dataset_split")
# And those that say yes or no to one of them, as those of fastai do.
SPLIT_FLAG = re.compile(rf"is_?({'|'.join(SPLIT_OF_WORD)})")
# Folders of texts without a label, as the reviews of Maas et al. (2011) have one.
UNLABELLED_FOLDERS = ("unsup", "unsupervised", "unlabelled", "unlabeled")


@dataclass(frozen=True)
class Source:
    """A split as it is written, and where each of its rows comes from.

    Args:
        data: its columns.
        files: name and number of rows of every file (or of what else it was read from), in order.
        rows: (N,) index of the rows of `data` among those of the files; not all, where some were left out.
    """

    data: datasets.Dataset
    files: tuple[tuple[str, int], ...]
    rows: np.ndarray

    @classmethod
    def of(cls, data: datasets.Dataset, *files: tuple[str, int]) -> "Source":
        return cls(data, files, np.arange(len(data)))

    @property
    def name(self) -> str:
        more = len(self.files) - 1
        return self.files[0][0] + (f" and {more} more" if more else "")

    def at(self, row: int, column: str) -> str:
        """The place of a row as messages say it: the file, the column, and the row in that file."""
        number = int(self.rows[row])
        for name, size in self.files:
            if number < size:
                return f"{name}, column {shortened(column, 40)}, row {number} (from 0)"
            number -= size
        raise IndexError(row)

    def select(self, rows: np.ndarray) -> "Source":
        """Those of the (N,) bool rows alone."""
        return replace(self, data=self.data.select(np.flatnonzero(rows)), rows=self.rows[rows])


class File(NamedTuple):
    path: Path
    name: str  # as the user knows it, in its archive
    inside: Path  # below what was asked for: its words say the split and the label

    @property
    def suffix(self) -> str:
        return _format(self.path)


def read(source, config: str | None = None, revision: str | None = None, seed: int = 42, encoding: str | None = None):
    """The splits that the source has: a `Source` for each of `SPLITS`, or fewer.

    Args:
        source: a name (see `load_text_classification`), or a `DataFrame`, a `Dataset`, or a dictionary of them.
        config, revision: of a Hub dataset.
        seed: of `planted`.
        encoding: of text files; UTF-8, or what their first bytes say.
    """
    if isinstance(source, Path):
        source = str(source)
    if not isinstance(source, str):
        return _by_split("the dataset", source if isinstance(source, dict) else {"train": source})
    if source == "planted":
        return _by_split("planted", planted(seed=seed))
    if is_saved(Path(source).expanduser()):
        return _read_saved(source)
    if files := data_files(source):
        return _read_files(source, files, encoding)
    return _read_hub(source, config, revision)


# Files


def data_files(name: str) -> list[Path]:
    """The data files a folder, file or pattern stands for; none where the name is not a local one. Raises `InputError`
    where it is one and there is nothing to read."""
    path = Path(name).expanduser()
    if is_saved(path):
        return sorted(file for file in path.rglob("*") if file.is_file())
    if path.is_dir():
        files = _below(path)
        if not files:
            raise InputError(f"The folder {name} has no data file: put {', '.join(FORMATS)} files into it.")
        return files
    found = [path] if path.is_file() else sorted(map(Path, glob.glob(str(path), recursive=True)))
    files = [file for file in found if file.is_file()]
    for file in files:
        if not _format(file):
            raise InputError(f"{file} has an unknown format: give one of {', '.join(FORMATS)}.")
    looks_local = path.is_absolute() or name.startswith((".", "~")) or _format(path)
    if not files and (looks_local or glob.has_magic(name)):
        raise InputError(f"{name} does not exist: give a folder, a file, or a dataset on the Hub.")
    return files


def is_saved(path: Path) -> bool:
    """Whether `save_to_disk` has written the folder."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _format(path: Path) -> str:
    """The ending that tells how to read the file, without that of its compression; "" where it is unknown."""
    name = path.name.lower()
    if archive := next((ending for ending in ARCHIVES if name.endswith(ending)), ""):
        return archive
    suffix = Path(name.removesuffix(path.suffix.lower())).suffix if path.suffix.lower() in OPENERS else path.suffix
    return suffix.lower() if suffix.lower() in FORMATS else ""


def _below(folder: Path) -> list[Path]:
    """Its data files. Plain texts are data only where there is nothing else, as every folder may hold a note."""
    files = [
        file
        for file in sorted(folder.rglob("*"))
        # macOS puts a ._train.csv beside train.csv
        if file.is_file()
        and _format(file)
        and file.name not in FILES_TO_IGNORE
        and not re.search(r"(^|/)(\.|__)", file.relative_to(folder).as_posix())
    ]
    return [file for file in files if _format(file) != ".txt"] or files


def _read_files(name: str, files: list[Path], encoding: str | None) -> dict[str, Source]:
    root = Path(name).expanduser()
    fixed = next((i for i, part in enumerate(root.parts) if glob.has_magic(part)), len(root.parts))
    base = root if root.is_dir() else Path(*root.parts[:fixed]) if fixed < len(root.parts) else root.parent
    with tempfile.TemporaryDirectory() as unpacked:
        used = []
        for number, path in enumerate(files):
            file = File(path, str(path), path.relative_to(base))
            used += _unpack(file, Path(unpacked) / str(number)) if file.suffix in ARCHIVES else [file]
        if any(file.suffix != ".txt" for file in used):
            used = [file for file in used if file.suffix != ".txt"]
        return _read_splits(name, used, encoding)


def _unpack(file: File, folder: Path) -> list[File]:
    try:
        options = {} if file.suffix == ".zip" else {"filter": "data"}
        shutil.unpack_archive(file.path, folder, **options)
    except Exception as error:
        raise InputError(f"{file.name} cannot be unpacked ({shortened(str(error), 100)}): replace it.") from error
    found = _below(folder)
    if not found:
        raise InputError(f"{file.name} has no data file in it: give one with {', '.join(FORMATS)} files.")
    inside = [path.relative_to(folder) for path in found]
    stem = file.inside.parent / file.path.name[: -len(file.suffix)]
    return [File(path, f"{file.name}/{part}", stem / part) for path, part in zip(found, inside, strict=True)]


def _read_splits(name: str, files: list[File], encoding: str | None) -> dict[str, Source]:
    words = [_split_word(file) for file in files]
    if len({file.suffix for file in files}) > 1:
        known = [file for file, word in zip(files, words, strict=True) if word] or files
        if len({file.suffix for file in known}) > 1:
            raise InputError(
                f"{name} mixes formats ({shortened(', '.join(file.path.name for file in known), 100)}): "
                f"give a pattern such as *{known[0].suffix}."
            )
    if len(files) == 1:
        return {"train": _read_split(files, encoding)}
    labels = {_label_folder(file) for file in files} - {None}
    documents = files[0].suffix == ".txt" and (len(labels) > 1 or not any(words))
    if documents:
        words = [
            (word or "train") if _label_folder(file) or not labels else None
            for file, word in zip(files, words, strict=True)
        ]
    if not any(words):
        raise InputError(
            f"{name} has {len(files)} files and none names its split: put train, validation or test into the names."
        )
    if ignored := [file.inside.as_posix() for file, word in zip(files, words, strict=True) if word is None]:
        logger.warning("%s: ignored, as their names say no split: %s.", name, shortened(", ".join(ignored), 200))
    parts: dict[str, dict[str, list[File]]] = {}
    for file, word in zip(files, words, strict=True):
        if word is not None:
            parts.setdefault(SPLIT_OF_WORD[word], {}).setdefault(word, []).append(file)
    result = {}
    for split, by_word in parts.items():
        _say_combined(name, split, list(by_word))
        part = sorted((file for files in by_word.values() for file in files), key=lambda file: file.inside)
        if documents:
            result[split] = _read_documents(part, encoding)
        else:
            _require_one_folder(name, split, part)
            result[split] = _read_split(part, encoding)
    return result


def _split_word(file: File) -> str | None:
    """The last word of its name that is a split, or of the innermost folder whose name has one."""
    return next((words[-1] for part in reversed(file.inside.parts) if (words := _split_words(part))), None)


def _split_words(part: str) -> list[str]:
    return [word for word in re.split(r"[^a-z]+", part.lower()) if word in SPLIT_OF_WORD]


def _label_folder(file: File) -> str | None:
    """The folder it lies in, where that is none of a split."""
    folder = file.inside.parent.name
    return None if not folder or _split_words(folder) else folder


def _say_combined(name: str, split: str, words: list[str]) -> None:
    if len(words) > 1:
        logger.warning("%s: %s are read together as %s.", name, " and ".join(words), split)


def _require_one_folder(name: str, split: str, files: list[File]) -> None:
    """Two configurations of a dataset, side by side, are no split in two pieces; nor is one file in two formats."""
    folders = {"/".join(part for part in file.inside.parts[:-1] if not _split_words(part)) for file in files}
    if len(folders) > 1:
        listed = shortened(", ".join(sorted(folder or "." for folder in folders)), 100)
        raise InputError(f"{name} has files of {split} in several folders ({listed}): give one of them, or a pattern.")
    seen: dict[str, File] = {}
    for file in files:
        plain = re.sub(r"\.(gz|bz2|xz)$", "", file.inside.as_posix().lower())
        if plain in seen:
            raise InputError(f"{name} has {file.inside} beside {seen[plain].inside}: take one of them away.")
        seen[plain] = file


def _read_split(files: list[File], encoding: str | None) -> Source:
    """One split of one format."""
    if FORMATS[files[0].suffix] == "parquet":
        return _read_parquet(files)
    tables = []
    for file in files:
        content = _content(file)
        match FORMATS[file.suffix]:
            case "csv":
                table = read_csv(content, file.name, encoding, tab=file.suffix == ".tsv")
            case "json":
                table = read_json(content, file.name, encoding)
            case "text":
                table = {"text": decoded(content, file.name, encoding).splitlines()}
        tables.append(table)
        if set(table) != set(tables[0]) and FORMATS[file.suffix] == "csv":
            raise InputError(
                f"{file.name} has the columns {shortened(', '.join(table), 60)}, {files[0].path.name} has "
                f"{shortened(', '.join(tables[0]), 60)}: give both the same header."
            )
    sizes = [len(next(iter(table.values()), [])) for table in tables]
    columns = list(dict.fromkeys(column for table in tables for column in table))
    joined = {
        column: [value for table, size in zip(tables, sizes, strict=True) for value in table.get(column, [None] * size)]
        for column in columns
    }
    return Source.of(_dataset(joined, files), *zip((file.name for file in files), sizes, strict=True))


def _dataset(columns: dict[str, list], files: list[File]) -> datasets.Dataset:
    features = None
    if FORMATS[files[0].suffix] != "json":
        features = datasets.Features(dict.fromkeys(columns, datasets.Value("string")))
    try:
        return datasets.Dataset.from_dict(
            columns, features=features, on_mixed_types="use_json" if features is None else None
        )
    except Exception as error:  # pyarrow's own, of values that no column can hold
        raise InputError(f"{files[0].name} cannot be read ({shortened(str(error), 100)}): repair it.") from error


def _read_documents(files: list[File], encoding: str | None) -> Source:
    """A text a file, its folder the label."""
    texts = [decoded(_content(file), file.name, encoding) for file in files]
    labels = [_label_folder(file) for file in files]
    labels = [None if label in UNLABELLED_FOLDERS else label for label in labels]
    features = datasets.Features(dict.fromkeys(("text", "label"), datasets.Value("string")))
    data = datasets.Dataset.from_dict({"text": texts, "label": labels}, features=features)
    return Source.of(data, *((file.name, 1) for file in files))


def _content(file: File) -> bytes:
    try:
        with OPENERS.get(file.path.suffix.lower(), open)(file.path, "rb") as stream:
            return stream.read()
    except (OSError, EOFError, lzma.LZMAError, zlib.error, ValueError) as error:
        reason = shortened(getattr(error, "strerror", None) or str(error), 100)
        raise InputError(f"{file.name} cannot be read ({reason}): repair or replace it.") from error


def _read_parquet(files: list[File]) -> Source:
    sizes = []
    for file in files:
        with file.path.open("rb") as opened:
            if not (start := opened.read(64)).startswith(b"PAR1"):
                refuse_other_format(start, file.name)
        try:
            sizes.append(pq.read_metadata(file.path).num_rows)
        except Exception as error:  # pyarrow's own
            raise InputError(
                f"{file.name} cannot be read as parquet ({shortened(str(error), 100)}): repair or replace it."
            ) from error
    if not sum(sizes):
        raise InputError(f"{files[0].name} is empty: give texts and labels.")
    verbosity = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # it logs its errors and raises them too
    try:
        data = datasets.load_dataset(
            "parquet", data_files=[glob.escape(str(file.path)) for file in files], split="train"
        )
    except Exception as error:  # pyarrow's and datasets' own: the files are no tables, or not of the same columns
        reason = shortened(str(error.__cause__ or error), 100)
        raise InputError(f"{files[0].name} cannot be read as parquet ({reason}): repair or replace it.") from error
    finally:
        datasets.logging.set_verbosity(verbosity)
    return Source.of(data, *zip((file.name for file in files), sizes, strict=True))


# Other sources


def _read_saved(name: str) -> dict[str, Source]:
    try:
        loaded = datasets.load_from_disk(str(Path(name).expanduser()))
    except Exception as error:  # whatever is wrong with one of its files
        reason = shortened(str(error) or type(error).__name__, 100)
        raise InputError(f"{name} cannot be read ({reason}): save the dataset again.") from error
    return _by_split(name, loaded if isinstance(loaded, dict) else {"train": loaded})


def _read_hub(name: str, config: str | None, revision: str | None) -> dict[str, Source]:
    try:
        loaded = datasets.load_dataset(name, config, revision=revision)
    except Exception as error:  # connection, name, configuration, revision, script: the message says which
        reason = shortened(str(error) or type(error).__name__, 100)
        raise InputError(
            f"{name} is no folder or file here and cannot be loaded from the Hub ({reason}): "
            "check `dataset_name`, `dataset_config` and `dataset_revision`."
        ) from error
    return _by_split(name, loaded)


def _by_split(name: str, loaded) -> dict[str, Source]:
    parts: dict[str, list[str]] = {}
    for key in loaded:
        if split := SPLIT_OF_WORD.get(str(key).lower()):
            parts.setdefault(split, []).append(key)
    if ignored := [str(key) for key in loaded if str(key).lower() not in SPLIT_OF_WORD]:
        logger.info("%s: splits not used: %s.", name, shortened(", ".join(ignored), 200))
    result = {}
    for split, keys in (parts or {key: [key] for key in loaded}).items():
        _say_combined(name, split, keys)
        tables = [_as_dataset(loaded[key], f"{key} of {name}") for key in keys]
        try:
            data = datasets.concatenate_datasets(tables) if len(tables) > 1 else tables[0]
        except Exception as error:  # features that do not agree
            raise InputError(
                f"{name} has {' and '.join(map(str, keys))}, which do not fit together as {split} "
                f"({shortened(str(error), 80)}): take one of them away."
            ) from error
        names = [f"{key} of {name}" for key in keys]
        result[split] = Source.of(data, *zip(names, map(len, tables), strict=True))
    return result


def _as_dataset(table, name: str) -> datasets.Dataset:
    if isinstance(table, pd.DataFrame):
        try:
            return datasets.Dataset.from_pandas(table, preserve_index=False)
        except Exception as error:  # pyarrow's own, of a column of several types
            raise InputError(f"{name} is no table of texts ({shortened(str(error), 150)}): repair it.") from error
    if not isinstance(table, datasets.Dataset):
        raise InputError(f"{name} is a {type(table).__name__}: give a Dataset, a DataFrame, or a dictionary of them.")
    return table


# A column that says the split


def by_split_column(splits: dict[str, Source], column: str | None) -> tuple[dict[str, Source], int]:
    """One table in the splits that a column of it says (guessed where obvious), and how many rows say none."""
    if column is None:
        column = _guessed_split_column(splits)
        if column is None:
            return splits, 0
    if list(splits) != ["train"]:
        raise InputError(f"split_column {column}: there are splits already ({', '.join(splits)}): leave it out.")
    source = splits["train"]
    if column not in source.data.column_names:
        listed = shortened(", ".join(source.data.column_names), 100)
        raise InputError(f"{source.name} has no column {column}, only {listed}: see `split_column`.")
    words = [_split_of(value) for value in _names(source.data, column)]
    if "train" not in words:
        raise InputError(f"{source.name}, column {column} has no row that says train: see `split_column`.")
    found = {split: np.array([word == split for word in words]) for split in SPLITS if split in words}
    counts = ", ".join(f"{split} {rows.sum()}" for split, rows in found.items())
    logger.warning("%s: the column %s says the split of every text (%s).", source.name, column, counts)
    if left_out := words.count(None):
        logger.warning("%s: %d rows are left out, whose %s says no split.", source.name, left_out, column)
    return {split: source.select(rows) for split, rows in found.items()}, left_out


def _guessed_split_column(splits: dict[str, Source]) -> str | None:
    if list(splits) != ["train"]:
        return None
    source = splits["train"]
    for column in source.data.column_names:
        if column.lower() not in SPLIT_COLUMNS and not SPLIT_FLAG.fullmatch(column.lower()):
            continue
        names = _names(source.data, column)
        known = {_split_of(name) for name in names}
        if "train" not in known:
            logger.warning(
                "%s: the column %s is not used: none of its rows says train, as it would have to for its splits.",
                source.name,
                column,
            )
        if "train" not in known or known == {"train"}:
            continue
        if None in known:
            other = next(row for row, name in enumerate(names) if _split_of(name) is None)
            raise InputError(
                f"{source.at(other, column)} says {shortened(str(names[other]), 40)}, other rows a split: repair it, "
                f"or leave such rows out with `split_column` {column}."
            )
        return column
    return None


def _names(data: datasets.Dataset, column: str) -> list:
    feature, values = data.features[column], data[column][:]
    return [feature.names[value] for value in values] if isinstance(feature, datasets.ClassLabel) else values


def _split_of(value) -> str | None:
    return SPLIT_OF_WORD.get(str(value).strip().lower())
