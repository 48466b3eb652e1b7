"""Labelled texts from the embedded dataset, from files, or from the Hub; checked, so that nothing later has to."""

import logging

import datasets
import numpy as np

from ..arguments import require_fractions
from ..errors import InputError
from .check import checked, columns_of
from .labels import labels_of
from .markup import remove_markup as remove_markup
from .read import SPLITS, read
from .split import draw, split_off, take

logger = logging.getLogger(__name__)


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
    splits, origins = read(dataset_name, dataset_config, dataset_revision, seed)
    if "train" not in splits:
        raise InputError(f"{dataset_name} has no train split, only {', '.join(splits)}: name one of its files train.")

    splits = {split: splits[split] for split in SPLITS if split in splits}
    text_column, label_column = columns_of(splits, origins, text_column, label_column)
    labels, feature = labels_of(splits, origins, label_column)
    splits = {
        split: checked(splits[split], origins[split], text_column, labels[split], feature, clean_markup)
        for split in labels
    }
    if "test" not in splits and test_fraction is None:
        raise InputError(f"{dataset_name} has no test split with labels: give --test_fraction to split one off train.")
    for split, fraction in (("test", test_fraction), ("validation", validation_fraction)):
        if split not in splits:
            splits["train"], splits[split] = split_off(splits["train"], split, fraction, seed)
    if max_train_samples is not None and max_train_samples < len(splits["train"]):
        surplus = len(splits["train"]) - max_train_samples
        drawn = draw(np.array(splits["train"]["label"][:]), surplus, [seed, *b"sample"])
        if drawn is None:
            raise InputError(f"--max_train_samples {max_train_samples} leaves no text of some label: give more.")
        splits["train"] = take(splits["train"], ~drawn)
        logger.info("train: %d of %d texts drawn with seed %d.", max_train_samples, len(drawn), seed)
    return datasets.DatasetDict({split: splits[split] for split in SPLITS})
