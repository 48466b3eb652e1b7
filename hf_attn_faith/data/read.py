"""The splits of a dataset as they are written: from files, a folder of `save_to_disk`, or the Hub."""

import csv
import glob
import logging
import re
from pathlib import Path

import datasets
import pandas as pd

from ..errors import InputError, shortened
from .planted import planted

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
SPLIT_OF_WORD = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test",
}  # fmt: skip
FORMATS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".json": "json"}
# How datasets, pandas and pyarrow say that a file has no rows.
NO_ROWS = ("corresponds to no data", "No columns to parse", "BatchSize must be greater than 0")


def read(name: str, config: str | None, revision: str | None, seed: int) -> tuple[dict[str, datasets.Dataset], dict]:
    """The splits that the source has, and where each comes from, as messages say it."""
    if name == "planted":
        return dict(planted(seed=seed)), {split: f"{split} of planted" for split in SPLITS}
    if is_saved(Path(name).expanduser()):
        return _read_saved(name)
    if files := data_files(name):
        return _read_files(name, files)
    return _read_hub(name, config, revision)


def data_files(name: str) -> list[Path]:
    """The data files a folder, file or pattern stands for; none where the name is not a local one. Raises `InputError`
    where it is one and there is nothing to read."""
    path = Path(name).expanduser()
    if is_saved(path):
        return sorted(file for file in path.rglob("*") if file.is_file())
    if path.is_dir():
        files = sorted(
            file
            for file in path.glob("[!.]*")  # macOS puts a ._train.csv beside train.csv
            if file.is_file() and file.suffix.lower() in FORMATS
        )
        if not files:
            raise InputError(f"The folder {name} has no data file: put {', '.join(FORMATS)} files into it.")
        return files
    files = [path] if path.is_file() else sorted(Path(file) for file in glob.glob(str(path)) if Path(file).is_file())
    for file in files:
        if file.suffix.lower() not in FORMATS:
            raise InputError(f"{file} has an unknown format: give one of {', '.join(FORMATS)}.")
    looks_local = path.is_absolute() or name.startswith((".", "~")) or path.suffix.lower() in FORMATS
    if not files and (looks_local or glob.has_magic(name)):
        raise InputError(f"{name} does not exist: give a folder, a file, or a dataset on the Hub.")
    return files


def is_saved(path: Path) -> bool:
    """Whether `save_to_disk` has written the folder."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def _read_saved(name):
    try:
        loaded = datasets.load_from_disk(str(Path(name).expanduser()))
    except Exception as error:  # whatever is wrong with one of its files
        raise InputError(
            f"{name} cannot be read ({shortened(str(error) or type(error).__name__, 200)}): save the dataset again."
        ) from error
    return _by_split(name, loaded if isinstance(loaded, dict) else {"train": loaded})


def _read_files(name, files):
    by_split: dict[str, list[Path]] = {}
    for file in files:
        words = [word for word in re.split(r"[^a-z]+", file.stem.lower()) if word in SPLIT_OF_WORD]
        if words:
            by_split.setdefault(SPLIT_OF_WORD[words[-1]], []).append(file)
    if len(files) == 1:
        by_split = {"train": files}
    if not by_split:
        raise InputError(
            f"{name} has {len(files)} files and none names its split: put train, validation or test into the names."
        )
    used = [file for part in by_split.values() for file in part]
    if len({file.suffix.lower() for file in used}) > 1:
        raise InputError(
            f"{name} mixes formats ({', '.join(file.name for file in used[:6])}): "
            f"give a pattern such as *{used[0].suffix}."
        )
    if ignored := [file.name for file in files if file not in used]:
        logger.warning("%s: ignored, as their names say no split: %s.", name, ", ".join(ignored))
    splits = {split: _read_split(part) for split, part in by_split.items()}
    return splits, {split: ", ".join(map(str, part)) for split, part in by_split.items()}


def _read_split(files: list[Path]) -> datasets.Dataset:
    suffix, names = files[0].suffix.lower(), ", ".join(map(str, files))
    verbosity = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # it logs its errors and raises them too
    try:
        options = _csv_options(files[0], "\t" if suffix == ".tsv" else ",") if FORMATS[suffix] == "csv" else {}
        return datasets.load_dataset(
            FORMATS[suffix], data_files=[glob.escape(str(file)) for file in files], split="train", **options
        )
    except Exception as error:  # pyarrow's, pandas' and datasets' own: all say that the file is not what it seems
        cause = error.__cause__ or error
        if any(words in str(cause) for words in NO_ROWS) or not any(file.stat().st_size for file in files):
            raise InputError(f"{names} is empty: give texts and labels.") from error
        reason = shortened(str(cause) or type(cause).__name__, 200)
        raise InputError(f"{names} cannot be read as {FORMATS[suffix]} ({reason}): repair or replace it.") from error
    finally:
        datasets.logging.set_verbosity(verbosity)


def _csv_options(file: Path, separator: str) -> dict:
    """Reads every cell as it is written: a text such as "2012" or "null" stays one. An empty cell is missing."""
    options = {"sep": separator, "quoting": csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL}
    head = pd.read_csv(file, nrows=1, **options)
    if not isinstance(head.index, pd.RangeIndex):
        raise ValueError("rows have more cells than the header")  # pandas takes the first for row names
    features = datasets.Features(dict.fromkeys(head.columns, datasets.Value("string")))
    return {**options, "features": features, "keep_default_na": False, "na_values": [""]}


def _read_hub(name, config, revision):
    try:
        loaded = datasets.load_dataset(name, config, revision=revision)
    except Exception as error:  # connection, name, configuration, revision, script: the message says which
        reason = shortened(str(error) or type(error).__name__, 200)
        raise InputError(
            f"{name} is no folder or file here and cannot be loaded from the Hub ({reason}): "
            "check --dataset_name, --dataset_config and --dataset_revision."
        ) from error
    return _by_split(name, loaded)


def _by_split(name, loaded):
    splits = {SPLIT_OF_WORD[split]: dataset for split, dataset in loaded.items() if split in SPLIT_OF_WORD}
    if ignored := [split for split in loaded if split not in SPLIT_OF_WORD]:
        logger.info("%s: splits not used: %s.", name, ", ".join(ignored))
    return splits or dict(loaded), {split: f"{split} of {name}" for split in splits}
