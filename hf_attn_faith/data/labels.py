"""The labels of a dataset: their names, their numbers, and those that are missing."""

import logging
import re
from decimal import Decimal

import datasets

from ..errors import InputError

logger = logging.getLogger(__name__)

# What hand-written files say for a label that is missing; a class may well be called "none".
MISSING_LABELS = ("", "nan", "NaN")
# 01 is a name, and another than 1.
NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?")


def labels_of(splits, origins, column) -> tuple[dict[str, list[int]], datasets.ClassLabel]:
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


def with_labels_of(model, splits, option_name: str):
    """The splits, their labels numbered as the model does it; a model may leave its own without names. Raises
    `InputError` where the dataset has a label that the model does not know."""
    names = splits["train"].features["label"].names
    known = [model.config.id2label[number] for number in range(model.config.num_labels)]
    if known in (names, [f"LABEL_{number}" for number in range(len(names))]):
        return splits
    if not set(names) <= set(known):
        raise InputError(
            f"--{option_name} knows the labels {', '.join(known)}, the dataset has {', '.join(names)}: "
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
