"""Labelled texts from the embedded dataset, from files, or from the Hub; checked, so that nothing later has to."""

import csv
import glob
import html
import logging
import re
from decimal import Decimal
from pathlib import Path

import datasets
import numpy as np
import pandas as pd

from ..arguments import require_fractions
from ..errors import InputError
from .planted import planted

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
SPLIT_OF_WORD = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test",
}  # fmt: skip
FORMATS = {".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".json": "json"}
TEXT_COLUMNS = ("text", "sentence", "content", "review", "review_text", "review_body", "comment", "tweet", "document")
LABEL_COLUMNS = ("label", "labels", "class", "target", "category", "sentiment")
# What hand-written files say for a label that is missing; a class may well be called "none".
MISSING_LABELS = ("", "nan", "NaN")
# How datasets, pandas and pyarrow say that a file has no rows.
NO_ROWS = ("corresponds to no data", "No columns to parse", "BatchSize must be greater than 0")
# 01 is a name, and another than 1.
NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?")
SPANS = datasets.List(datasets.List(datasets.Value("int64")))


def load_text_classification(
    dataset_name: str,
    *,
    dataset_config: str | None = None,
    dataset_revision: str | None = None,
    text_column: str | None = None,
    label_column: str | None = None,
    validation_fraction: float = 0.1,
    test_fraction: float | None = None,
    max_train_samples: int | None = None,
    clean_markup: bool = False,
    seed: int = 42,
) -> datasets.DatasetDict:
    """Labelled texts in three splits. No row is dropped in silence; what is wrong with one is said with its number.

    Args:
        dataset_name: `planted` (see `data.planted`); a folder, a file or a pattern (`reviews/*.csv`) of parquet, csv,
            tsv (cells as they are, quotes included), or json lines; a folder that `save_to_disk` has written; or a
            dataset on the Hub. The name of a file says its split: train, validation (or valid, val, dev) or test as a
            word of it; a single file is train.
        dataset_config, dataset_revision: of the Hub dataset.
        text_column, label_column: guessed where obvious.
        validation_fraction: share of train that becomes the validation split where there is none.
        test_fraction: the same for test; it is split off first. Both keep the shares of the labels.
        max_train_samples: train on so many texts. The other splits are the same whatever this number: they are split
            off before.
        clean_markup: take HTML tags and entities out of the texts, also those that lost their ampersand (`#39;`).
        seed: of the splits, of the sample, and of `planted`.

    Returns:
        Splits `train`, `validation`, `test` with `text`, `label` (one `ClassLabel` for all; the source's names, or
        the labels themselves, sorted) and, where the source has it, `rationale`: [start, end) spans in characters.
        A split whose labels are all missing, as in benchmarks that hide them, counts as missing.

    Raises:
        InputError: whatever is wrong with the source, in one line that says where and the way out.
    """
    require_fractions(validation_fraction, test_fraction)
    if dataset_name == "planted":
        splits, origins = planted(seed=seed), {split: f"{split} of planted" for split in SPLITS}
    elif is_saved(Path(dataset_name).expanduser()):
        splits, origins = _read_saved(dataset_name)
    elif files := data_files(dataset_name):
        splits, origins = _read_files(dataset_name, files)
    else:
        splits, origins = _read_hub(dataset_name, dataset_config, dataset_revision)
    if "train" not in splits:
        raise InputError(f"{dataset_name} has no train split, only {', '.join(splits)}: name one of its files train.")

    splits = {split: splits[split] for split in SPLITS if split in splits}
    text_column, label_column = _columns(splits, origins, text_column, label_column)
    labels, feature = _labels(splits, origins, label_column)
    splits = {
        split: _checked(splits[split], origins[split], text_column, labels[split], feature, clean_markup)
        for split in labels
    }
    if "test" not in splits and test_fraction is None:
        raise InputError(f"{dataset_name} has no test split with labels: give --test_fraction to split one off train.")
    for split, fraction in (("test", test_fraction), ("validation", validation_fraction)):
        if split not in splits:
            splits["train"], splits[split] = _split_off(splits["train"], split, fraction, seed)
    if max_train_samples is not None and max_train_samples < len(splits["train"]):
        surplus = len(splits["train"]) - max_train_samples
        drawn = _draw(np.array(splits["train"]["label"][:]), surplus, [seed, *b"sample"])
        if drawn is None:
            raise InputError(f"--max_train_samples {max_train_samples} leaves no text of some label: give more.")
        splits["train"] = _take(splits["train"], ~drawn)
        logger.info("train: %d of %d texts drawn with seed %d.", max_train_samples, len(drawn), seed)
    return datasets.DatasetDict({split: splits[split] for split in SPLITS})


def remove_markup(text: str) -> str:
    """The text without HTML tags and entities, those that lost their ampersand included; white space collapsed.

    >>> remove_markup("Tuesday #39;s deal &amp; more<br /><br />to come")
    "Tuesday's deal & more to come"
    """
    # A suffix goes back to its word.
    text = re.sub(r"(?<=\w) #39;(?=(?:s|t|d|m|re|ve|ll)\b)", "'", text)
    text = re.sub(r"(?<!&)#(\d{2,4});", r"&#\1;", text)
    text = re.sub(r"(?<![&\w])(quot|amp|lt|gt|nbsp);", r"&\1;", text)
    text = re.sub(r"</?[A-Za-z][^<>]*>|<!--.*?-->", " ", html.unescape(text))
    return " ".join(text.split())


# Reading


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
            f"{name} cannot be read ({_shortened(str(error) or type(error).__name__, 200)}): save the dataset again."
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
        reason = _shortened(str(cause) or type(cause).__name__, 200)
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
        reason = _shortened(str(error) or type(error).__name__, 200)
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


# Checking


def _columns(splits, origins, text_column, label_column):
    features = splits["train"].features
    guessed = text_column is None or label_column is None
    label_column = label_column or _guess(LABEL_COLUMNS, features)
    if text_column is None:
        text_column = _guess(TEXT_COLUMNS, [column for column in features if column != label_column])
    if text_column is None:
        strings = [column for column in features if column != label_column and _is_string(features[column])]
        text_column = strings[0] if len(strings) == 1 else None
    for option, column in (("text_column", text_column), ("label_column", label_column)):
        for split, dataset in splits.items():
            listed = ", ".join(_shortened(name, 40) for name in dataset.column_names)
            if column is None:
                hint = " (is its separator a comma?)" if len(dataset.column_names) == 1 and ";" in listed else ""
                raise InputError(f"{origins[split]}: which column? It has {listed}{hint}: name one with --{option}.")
            if column not in dataset.column_names:
                raise InputError(f"{origins[split]} has no column {column}, only {listed}: see --{option}.")
    if text_column == label_column:
        raise InputError(f"--text_column and --label_column are both {text_column}: name two columns.")
    if guessed and (text_column, label_column) != ("text", "label"):
        logger.info("Texts are read from the column %s, labels from %s.", text_column, label_column)
    return text_column, label_column


def _guess(names, columns):
    by_lower_case = {column.lower(): column for column in reversed(list(columns))}
    return next((by_lower_case[name] for name in names if name in by_lower_case), None)


def _labels(splits, origins, column) -> tuple[dict[str, list[int]], datasets.ClassLabel]:
    """The labels of every split that has some, as numbers, and the feature that names them."""
    names = {split: _label_names(dataset, column, origins[split]) for split, dataset in splits.items()}
    for split in ("validation", "test"):
        if names.get(split) and not any(names[split]):
            logger.warning("%s has no labels: it counts as missing.", origins[split])
            del names[split]
    for split, values in names.items():
        if not values:
            raise InputError(f"{origins[split]} is empty: give texts and labels.")
        if None in values:
            raise InputError(
                f"{origins[split]}, column {column}, row {values.index(None)} (from 0) has no label: "
                "fill it in or take the row out."
            )

    source = splits["train"].features[column]
    if isinstance(source, datasets.ClassLabel):
        known = [name for name in source.names if name in set(names["train"])]
    elif all(NUMBER.fullmatch(name) for name in set().union(*names.values())):
        # 1.0 and 0.0, as tables write whole numbers beside a gap, are the classes 1 and 0; 0.37 is none.
        for split, values in names.items():
            for row, name in enumerate(values):
                if not float(name).is_integer():
                    raise InputError(
                        f"{origins[split]}, column {column}, row {row} (from 0) has the label {name}, a measurement "
                        "and no class: name another with --label_column."
                    )
            names[split] = [str(int(Decimal(name))) for name in values]
        known = sorted(set(names["train"]), key=int)
    else:
        known = sorted(set(names["train"]))

    if len(known) < 2:
        raise InputError(
            f"{origins['train']}, column {column} has one label only, {known[0]}: a classifier needs "
            "two (see --label_column)."
        )
    for split, values in names.items():
        if unknown := sorted(set(values) - set(known)):
            raise InputError(
                f"{origins[split]}, column {column} has labels that train lacks: {', '.join(unknown[:10])}; "
                "take their rows out or add some to train."
            )
    if "all" in known:
        raise InputError(
            f"{origins['train']}, column {column} has the label all, by which the tables mean all labels together: "
            "give it another name."
        )
    for split, values in names.items():
        if len(set(values)) == 1:
            raise InputError(
                f"{origins[split]}, column {column} has one label only, {values[0]}: nothing can be scored on it; add "
                "texts of the others, or take it away and let one be made of train."
            )
        declared = source.names if isinstance(source, datasets.ClassLabel) else known
        if unused := [name for name in declared if name not in set(values)]:
            logger.warning("%s has no text with the label %s.", origins[split], ", ".join(unused))
    feature = datasets.ClassLabel(names=known)
    return {split: feature.str2int(values) for split, values in names.items()}, feature


def _label_names(dataset, column, origin) -> list[str | None]:
    """The label of every row as a name, None where it is missing."""
    feature, values = dataset.features[column], dataset[column][:]
    if isinstance(feature, datasets.ClassLabel):
        # -1 is the Hub's custom for a label that is held back.
        return [feature.names[value] if value is not None and value >= 0 else None for value in values]
    if not isinstance(feature, datasets.Value) or feature.dtype.startswith(("timestamp", "date", "binary")):
        raise InputError(
            f"{origin}: the column {column} holds no labels but {feature}: name another with --label_column."
        )
    names = [None if value is None else str(value) for value in values]
    return [None if name in MISSING_LABELS else name for name in names]


def _checked(dataset, origin, text_column, labels, label_feature, clean_markup) -> datasets.Dataset:
    """The split with `text`, `label` and, where it has one, `rationale` alone."""
    texts = dataset[text_column][:]
    for row, text in enumerate(texts):
        if text is None:
            raise InputError(
                f"{origin}, column {text_column}, row {row} (from 0) has no text: fill it in or take the row out."
            )
        if not isinstance(text, str):
            raise InputError(
                f"{origin}, column {text_column}, row {row} (from 0) holds {_shortened(repr(text), 40)}, no text: "
                "put quotes around it or name another column with --text_column."
            )
    has_rationale = "rationale" in dataset.column_names and text_column != "rationale"
    if has_rationale and not _is_spans(dataset.features["rationale"]):
        logger.info("%s: the column rationale is not used, as it holds no lists of [start, end) pairs.", origin)
        has_rationale = False
    columns = {"label": labels}
    features = {"text": datasets.Value("string"), "label": label_feature}
    if has_rationale:
        columns["rationale"], features["rationale"] = dataset["rationale"][:], SPANS
        for row, (text, spans) in enumerate(zip(texts, columns["rationale"], strict=True)):
            if spans is None or not all(len(span) == 2 and 0 <= span[0] < span[1] <= len(text) for span in spans):
                raise InputError(
                    f"{origin}, column rationale, row {row} (from 0) has spans outside its text: "
                    "give [start, end) pairs."
                )
        if clean_markup:
            raise InputError(f"{origin}: --clean_markup would shift the spans of the column rationale: leave it out.")
    if clean_markup:
        texts = list(map(remove_markup, texts))
    if not any(text.strip() for text in texts):
        raise InputError(
            f"{origin}, column {text_column} has nothing but empty texts: name another with --text_column."
        )
    return datasets.Dataset.from_dict({"text": texts, **columns}, features=datasets.Features(features))


def _is_string(feature) -> bool:
    return isinstance(feature, datasets.Value) and "string" in feature.dtype


def _is_spans(feature) -> bool:
    match feature:
        case datasets.List(feature=datasets.List(feature=datasets.Value(dtype=dtype))):
            return "int" in dtype
    return False


# Splitting


def _split_off(train, split, fraction, seed):
    drawn = _draw(np.array(train["label"][:]), round(fraction * len(train)), [seed, *split.encode()])
    if drawn is None or not drawn.any():
        raise InputError(
            f"--{split}_fraction {fraction} of {len(train)} texts cannot be split off train, where one text of every "
            "label has to stay: give another share or more texts."
        )
    logger.warning(
        "There is no %s split: %d of the %d texts of train become one, with seed %d.",
        split,
        drawn.sum(),
        len(drawn),
        seed,
    )
    return _take(train, ~drawn), _take(train, drawn)


def _take(dataset, rows: np.ndarray) -> datasets.Dataset:
    return datasets.Dataset.from_dict(dataset[np.flatnonzero(rows)], features=dataset.features)


def _draw(labels: np.ndarray, size: int, seed: list[int]) -> np.ndarray | None:
    """(N,) bool: `size` random rows in which every label has its share, but never its last row; None where those are
    too few."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    # Without the first row of every label, evenly spaced ones of the rest.
    candidates = order[1:][np.diff(labels[order]) == 0]
    if size > len(candidates):
        return None
    drawn = np.zeros(len(labels), dtype=bool)
    drawn[candidates[((np.arange(size) + 0.5) * len(candidates) / max(size, 1)).astype(int)]] = True
    return drawn


def _shortened(text: str, length: int) -> str:
    """In one line, of so many characters at most."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
