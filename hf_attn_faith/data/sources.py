"""Labelled texts from the embedded dataset, from files, from memory, or from the Hub; checked, so that nothing later
has to."""

import logging
from dataclasses import dataclass, field

import datasets

from ..arguments import require_fractions
from ..errors import InputError, shortened
from .check import checked, columns_of
from .labels import known_labels, label_names, labels_of
from .markup import remove_markup as remove_markup
from .read import SPLITS, Source, by_split_column, read
from .split import sample, split_off

logger = logging.getLogger(__name__)


@dataclass
class Reading:
    """What became of every row of a source.

    Args:
        files: name and number of rows of each file that was read.
        left_out: number of rows that are in no split, and the reason.
        splits: number of texts of each split.
    """

    files: list[tuple[str, int]] = field(default_factory=list)
    left_out: list[tuple[int, str]] = field(default_factory=list)
    splits: dict[str, int] = field(default_factory=dict)


def load_text_classification(dataset_name, **options) -> datasets.DatasetDict:
    """Labelled texts in three splits: those of `read_text_classification`, which see, without the account of it."""
    return read_text_classification(dataset_name, **options)[0]


def read_text_classification(
    dataset_name,
    *,
    dataset_config: str | None = None,
    dataset_revision: str | None = None,
    text_column: str | list[str] | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    encoding: str | None = None,
    text_separator: str = " | ",
    validation_fraction: float = 0.1,
    test_fraction: float | None = None,
    max_train_samples: int | None = None,
    max_test_samples: int | None = None,
    drop_unlabelled: bool = False,
    clean_markup: bool = False,
    seed: int = 42,
) -> tuple[datasets.DatasetDict, Reading]:
    """Labelled texts in three splits. No row is dropped in silence; what is wrong with one is said with its number.

    Args:
        dataset_name: `planted` (see `data.planted`); a folder, a file or a pattern (`reviews/**/*.csv`) of parquet,
            csv, tsv (cells as they are, quotes included), json or json lines, compressed (gz, bz2, xz) or in a zip or
            tar archive too; folders of plain texts, a folder a label; a folder that `save_to_disk` has written; a
            dataset on the Hub; or a `DataFrame`, a `Dataset`, or a dictionary of them. The name of a file, or of a
            folder around it, says its split: train, validation (or valid, val, dev) or test as a word of it; a single
            file is train.
        dataset_config, dataset_revision: of the Hub dataset.
        text_column, label_column: guessed where obvious. Several text columns are joined by `text_separator`.
        split_column: column of a single table that says the split of each row; guessed where obvious.
        encoding: of text files; UTF-8, or what their first bytes say.
        validation_fraction: share of train that becomes the validation split where there is none.
        test_fraction: the same for test; it is split off first. Both keep the shares of the labels.
        max_train_samples, max_test_samples: train and test on so many texts. The other splits are the same whatever
            these numbers are: they are split off before.
        drop_unlabelled: leave out rows without a label; otherwise they are refused.
        clean_markup: take HTML tags and entities out of the texts, also those that lost their ampersand (`#39;`).
        seed: of the splits, of the samples, and of `planted`.

    Returns:
        Splits `train`, `validation`, `test` with `text`, `label` (one `ClassLabel` for all; the source's names, or
        the labels themselves, sorted) and, where the source has it, `rationale`: [start, end) spans in characters.
        A split whose labels are all missing, as in benchmarks that hide them, counts as missing. And what became of
        every row.

    Raises:
        InputError: whatever is wrong with the source, in one line that says where and the way out.
    """
    require_fractions(validation_fraction, test_fraction)
    name = dataset_name if isinstance(dataset_name, str) else "the dataset"
    sources = read(dataset_name, dataset_config, dataset_revision, seed, encoding)
    reading = Reading(files=[file for source in sources.values() for file in source.files])
    sources = _by_column(sources, split_column, reading)
    if "train" not in sources:
        raise InputError(f"{name} has no train split, only {', '.join(sources)}: name one of its files train.")

    sources = {split: sources[split] for split in SPLITS if split in sources}
    columns, label_column = columns_of(sources, text_column, label_column)
    labelled, labels, feature, unlabelled = labels_of(sources, label_column, drop_unlabelled)
    reading.left_out += [
        (len(source.data), f"{split} has no labels") for split, source in sources.items() if split not in labelled
    ]
    reading.left_out += [(rows, f"no label, in {file}") for file, rows in unlabelled.items()]
    splits = {
        split: checked(source, columns, labels[split], feature, text_separator, clean_markup)
        for split, source in labelled.items()
    }
    if "test" not in splits and test_fraction is None:
        raise InputError(f"{name} has no test split with labels: give `test_fraction` to split one off train.")
    for split, fraction in (("test", test_fraction), ("validation", validation_fraction)):
        if split not in splits:
            splits["train"], splits[split] = split_off(splits["train"], split, fraction, seed)
    for split, size in (("train", max_train_samples), ("test", max_test_samples)):
        if size is not None and size < len(splits[split]):
            reading.left_out.append((len(splits[split]) - size, f"not drawn by max_{split}_samples {size}"))
            splits[split] = sample(splits[split], split, size, seed)
    reading.splits = {split: len(splits[split]) for split in SPLITS}
    return datasets.DatasetDict({split: splits[split] for split in SPLITS}), reading


def load_texts_to_predict(
    dataset_name,
    split: str,
    *,
    split_made: bool = False,
    labels: list[str] | None = None,
    dataset_config: str | None = None,
    dataset_revision: str | None = None,
    text_column: str | list[str] | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    encoding: str | None = None,
    text_separator: str = " | ",
    clean_markup: bool = False,
    seed: int = 42,
) -> datasets.Dataset | None:
    """Any texts, labelled or not: every row of a file (or split), in its order.

    Args:
        dataset_name and the options of reading: see `read_text_classification`.
        split: which one of a source that has several; one that has a single table is read whole, unless
            `split_made` says that others were split off it.
        labels: the names that the model knows. Labels are kept where all are among them.

    Returns:
        A dataset of `text`, `row` (its index in the source) and, where they are kept, `label`, numbered as in
        `labels`. None where there is no such split as it is written.
    """
    sources = _by_column(read(dataset_name, dataset_config, dataset_revision, seed, encoding), split_column, Reading())
    if len(sources) == 1 and not split_made:
        (source,) = sources.values()
    elif split in sources:
        source = sources[split]
    else:
        return None
    columns, label_column = columns_of({"texts": source}, text_column, label_column, labelled=False)
    numbers, feature = _fitting_labels(source, label_column, labels)
    texts = checked(source, columns, numbers, feature, text_separator, clean_markup)
    return texts.add_column("row", source.rows)


def _by_column(sources: dict[str, Source], split_column: str | None, reading: Reading) -> dict[str, Source]:
    sources, left_out = by_split_column(sources, split_column)
    if left_out:
        reading.left_out.append((left_out, f"{split_column} says no split"))
    return sources


def _fitting_labels(source: Source, column: str | None, names: list[str] | None):
    """The labels as numbers and their feature, where every row has one that the model knows; a model may leave its own
    without names."""
    if column is None or names is None:
        return None, None
    labels = label_names({"train": source}, column)
    if None not in labels["train"]:
        known = known_labels({"train": source}, labels, column)
        if names == [f"LABEL_{number}" for number in range(len(known))]:
            names = known
    if unfitting := [label for label in labels["train"] if label not in set(names)]:
        missing = unfitting.count(None)
        reason = f"{missing} rows have none" if missing else f"the model knows no {shortened(str(unfitting[0]), 40)}"
        logger.warning("%s: the labels in the column %s are not kept, as %s.", source.name, column, reason)
        return None, None
    feature = datasets.ClassLabel(names=names)
    return feature.str2int(labels["train"]), feature
