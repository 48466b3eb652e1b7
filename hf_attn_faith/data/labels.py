"""The labels of a dataset: their names, their numbers, and those that are missing."""

import logging
import re
import unicodedata
from collections import Counter
from decimal import Decimal

import datasets
import numpy as np

from ..errors import InputError, shortened
from .read import Source

logger = logging.getLogger(__name__)

# What hand-written files say for a label that is missing; a class may well be called "none".
MISSING_LABELS = ("", "nan", "NaN")
# 01 is a name, and another than 1.
NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?")


def labels_of(
    splits: dict[str, Source], column: str, drop_unlabelled: bool = False
) -> tuple[dict[str, Source], dict[str, list[int]], datasets.ClassLabel, dict[str, int]]:
    """The splits that have labels, these as numbers, the feature that names them, and how many rows of which file were
    left out for having none.

    White space around a label is no part of it. An empty cell, and -1 as the Hub has it, is no label: a split of such
    rows (or without the column) counts as missing, single ones are refused, or left out where `drop_unlabelled`.
    """
    names = label_names(splits, column)
    for split in [split for split in splits if split != "train"]:
        if len(splits[split].data) and not any(names[split]):
            logger.warning("%s has no labels: it counts as missing.", splits[split].name)
            del names[split]
    left_out = {}
    splits = {split: splits[split] for split in names}
    for split, values in names.items():
        source = splits[split]
        if not values:
            raise InputError(f"{source.name} is empty: give texts and labels.")
        if None not in values:
            continue
        missing = values.count(None)
        if not drop_unlabelled or missing == len(values):
            raise InputError(
                f"{source.at(values.index(None), column)} has no label (nor have {missing - 1} others): fill it in, "
                "or leave such rows out with `drop_unlabelled`."
            )
        logger.warning("%s: %d of %d rows have no label and are left out.", source.name, missing, len(values))
        splits[split] = source.select(np.array([value is not None for value in values]))
        names[split] = [value for value in values if value is not None]
        left_out[source.name] = missing
    train = splits["train"]
    feature = train.data.features[column]
    known = known_labels(splits, names, column)
    if len(known) < 2:
        raise InputError(
            f"{train.name}, column {column} has one label only, {known[0]}: a classifier needs two "
            "(see `label_column`)."
        )
    for split, values in names.items():
        if unknown := sorted(set(values) - set(known)):
            raise InputError(
                f"{splits[split].name}, column {column} has labels that train lacks: "
                f"{shortened(', '.join(unknown), 100)}; take their rows out or add some to train."
            )
    if "all" in known:
        raise InputError(
            f"{train.name}, column {column} has the label all, by which the tables mean all labels together: "
            "give it another name."
        )
    for split, values in names.items():
        if len(set(values)) == 1:
            raise InputError(
                f"{splits[split].name}, column {column} has one label only, {values[0]}: nothing can be scored on it; "
                "add texts of the others, or take it away and let one be made of train."
            )
        declared = feature.names if isinstance(feature, datasets.ClassLabel) else known
        if unused := [name for name in declared if name not in set(values)]:
            logger.warning("%s has no text with the label %s.", splits[split].name, shortened(", ".join(unused), 100))
    _warn_of_near_duplicates(names["train"])
    numbered = datasets.ClassLabel(names=known)
    return splits, {split: numbered.str2int(values) for split, values in names.items()}, numbered, left_out


def known_labels(splits: dict[str, Source], names: dict[str, list[str]], column: str) -> list[str]:
    """The labels of train in the order of their numbers; whole numbers get the same name however they are written."""
    feature = splits["train"].data.features[column]
    if isinstance(feature, datasets.ClassLabel):
        return [name for name in feature.names if name in set(names["train"])]
    if not all(NUMBER.fullmatch(name) for name in set().union(*names.values())):
        return sorted(set(names["train"]))
    # 1.0 and 0.0, as tables write whole numbers beside a gap, are the classes 1 and 0; 0.37 is none.
    for split, values in names.items():
        for row, name in enumerate(values):
            if not float(name).is_integer():
                raise InputError(
                    f"{splits[split].at(row, column)} has the label {name}, a measurement and no class: "
                    "name another with `label_column`."
                )
        names[split] = [str(int(Decimal(name))) for name in values]
    return sorted(set(names["train"]), key=int)


def label_names(splits: dict[str, Source], column: str) -> dict[str, list[str | None]]:
    """The label of every row as a name; None where it is missing, and for all rows where there is no such column.

    -1 is the custom for a label that is held back, unless 1 is the only other one: then it is its opposite.
    """
    names = {split: _label_names(source, column) for split, source in splits.items()}
    numbers = {name: float(name) for name in set().union(*names.values()) - {None} if NUMBER.fullmatch(name)}
    if set(numbers.values()) == {-1, 1} and len(set().union(*names.values()) - {None}) == len(numbers):
        return names
    return {split: [None if numbers.get(n) == -1 else n for n in values] for split, values in names.items()}


def _label_names(source: Source, column: str) -> list[str | None]:
    if column not in source.data.column_names:
        return [None] * len(source.data)
    feature, values = source.data.features[column], source.data[column][:]
    if isinstance(feature, datasets.ClassLabel):
        return [feature.names[value] if value is not None and value >= 0 else None for value in values]
    # What JSON writes as 1 in one row and as "1" in another is the same label.
    mixed = isinstance(feature, datasets.Json) and not any(isinstance(value, list | dict) for value in values)
    # A column that is empty throughout has no type.
    typed = isinstance(feature, datasets.Value) and not feature.dtype.startswith(("timestamp", "date", "binary"))
    if not (typed or mixed):
        kind = shortened(str(feature), 60)
        raise InputError(
            f"{source.name}: the column {column} holds no labels but {kind}: name another with `label_column`."
        )
    names = [None if value is None else str(value) for value in values]
    stripped = [None if name is None else name.strip() for name in names]
    if changed := sum(a != b for a, b in zip(names, stripped, strict=True)):
        logger.warning("%s: white space around the label is taken away in %d rows.", source.name, changed)
    return [None if name in MISSING_LABELS else name for name in stripped]


def _warn_of_near_duplicates(values: list[str]) -> None:
    alike: dict[str, list[str]] = {}
    counts = Counter(values)
    for name in sorted(counts):
        key = "".join(re.findall(r"\w+", unicodedata.normalize("NFKC", name).casefold().replace("_", " "))) or name
        alike.setdefault(key, []).append(name)
    for group in alike.values():
        if len(group) > 1:
            listed = ", ".join(f"{name} ({counts[name]} texts)" for name in group)
            logger.warning("Labels that differ in case, spaces or punctuation only are classes apart: %s.", listed)


def with_labels_of(config, splits, option_name: str):
    """The splits, their labels numbered as the model of that configuration does it; a model may leave its own without
    names. Raises `InputError` where the dataset has a label that the model does not know."""
    names = splits["train"].features["label"].names
    known = [config.id2label[number] for number in range(config.num_labels)]
    if known in (names, [f"LABEL_{number}" for number in range(len(names))]):
        return splits
    if not set(names) <= set(known):
        raise InputError(
            f"`{option_name}` knows the labels {', '.join(known)}, the dataset has {', '.join(names)}: "
            "give a dataset with the labels the model was trained on."
        )
    feature = datasets.ClassLabel(names=known)
    return datasets.DatasetDict(
        {
            split: part.remove_columns("label").add_column(
                "label", feature.str2int([names[label] for label in part["label"]]), feature=feature
            )
            for split, part in splits.items()
        }
    )
