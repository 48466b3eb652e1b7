"""From the options of a command to encoded splits and a tokenizer."""

import logging
from dataclasses import replace
from typing import NamedTuple

import datasets
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from ..arguments import DataArguments, TextArguments
from .encode import encode
from .labels import with_labels_of
from .report import data_report, overlap_warnings
from .sources import Reading, load_texts_to_predict, read_text_classification
from .tokenizer import load_tokenizer, text_settings, train_word_tokenizer

logger = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """Encoded splits, their tokenizer, and the facts of both (see `data.report`)."""

    splits: datasets.DatasetDict
    tokenizer: PreTrainedTokenizerFast
    report: dict


def load_texts(arguments: TextArguments) -> datasets.DatasetDict:
    """The splits train, validation and test with the columns `text` and `label`."""
    return _read(arguments)[0]


def prepare(
    arguments: DataArguments | TextArguments, tokenizer: PreTrainedTokenizerFast | None = None
) -> tuple[datasets.DatasetDict, PreTrainedTokenizerFast]:
    """Encoded splits and their tokenizer: those of `prepare_with_report`, which see, without the report."""
    return prepare_with_report(arguments, tokenizer)[:2]


def prepare_with_report(
    arguments: DataArguments | TextArguments, tokenizer: PreTrainedTokenizerFast | None = None
) -> Prepared:
    """Encoded splits and their tokenizer: the given one, the one the options name, or one trained on train alone.

    `TextArguments` are enough where a tokenizer is given: a model's own, which knows the `max_length` and the
    `clean_markup` that the model was trained under. An option that contradicts it is told.
    """
    if tokenizer is not None:
        _tell_other_settings(arguments, tokenizer)
    elif arguments.tokenizer is not None:
        # Columns are joined by its separator.
        tokenizer = load_tokenizer(arguments.tokenizer, special_tokens_in_texts=len(arguments.text_column or []) > 1)
    clean_markup = _clean_markup(arguments, tokenizer)
    texts, reading = _read(replace(arguments, clean_markup=clean_markup), tokenizer)
    if tokenizer is None:
        tokenizer = train_word_tokenizer(
            texts["train"]["text"],
            lowercase=arguments.lowercase,
            digits=arguments.digits,
            min_frequency=arguments.min_frequency,
            max_vocab_size=arguments.max_vocab_size,
        )
    encoded = encode(texts, tokenizer, arguments.max_length)
    # It is saved with the tokenizer, beside every model.
    tokenizer.init_kwargs["clean_markup"] = clean_markup
    report = data_report(texts, encoded, tokenizer, reading)
    for warning in overlap_warnings(report):
        logger.warning(warning)
    return Prepared(encoded, tokenizer, report)


def prepare_to_predict(
    arguments: TextArguments, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, split: str
) -> datasets.Dataset:
    """Any texts, labelled or not, encoded for a model: all rows of a file in their order and with their numbers, or
    one split of several. Labels that fit the model are kept, numbered as it does it.

    Args:
        arguments: where the texts come from. A split that was made for training is made again: test where
            `test_fraction` is given, validation of a dataset that has train and test alone.
        model, tokenizer: a classifier and its own tokenizer.
        split: which one, where there are several.
    """
    texts = load_texts_to_predict(
        arguments.dataset_name,
        split,
        split_made=arguments.test_fraction is not None and split != "train",
        labels=[model.config.id2label[number] for number in range(model.config.num_labels)],
        **_reading_options(replace(arguments, clean_markup=_clean_markup(arguments, tokenizer)), tokenizer),
    )
    if texts is None:
        return with_labels_of(model.config, prepare(arguments, tokenizer)[0], "model")[split]
    _tell_other_settings(arguments, tokenizer)
    return encode(texts, tokenizer, arguments.max_length)


def _read(
    arguments: TextArguments, tokenizer: PreTrainedTokenizerFast | None = None
) -> tuple[datasets.DatasetDict, Reading]:
    return read_text_classification(
        arguments.dataset_name,
        validation_fraction=arguments.validation_fraction,
        test_fraction=arguments.test_fraction,
        max_train_samples=arguments.max_train_samples,
        max_test_samples=arguments.max_test_samples,
        drop_unlabelled=arguments.drop_unlabelled,
        **_reading_options(arguments, tokenizer),
    )


def _reading_options(arguments: TextArguments, tokenizer: PreTrainedTokenizerFast | None) -> dict:
    """What any reader of texts is told, labelled or not."""
    return {
        "dataset_config": arguments.dataset_config,
        "dataset_revision": arguments.dataset_revision,
        "text_column": arguments.text_column,
        "label_column": arguments.label_column,
        "split_column": arguments.split_column,
        "encoding": arguments.encoding,
        "text_separator": _separator(tokenizer),
        "clean_markup": bool(arguments.clean_markup),
        "seed": arguments.split_seed,
    }


def _separator(tokenizer: PreTrainedTokenizerFast | None) -> str:
    """What stands between the columns of a text: the tokenizer's own separator, or a token of any other."""
    return f" {tokenizer.sep_token if tokenizer is not None and tokenizer.sep_token else '|'} "


def _clean_markup(arguments: TextArguments, tokenizer: PreTrainedTokenizerFast | None) -> bool:
    if arguments.clean_markup is not None:
        return arguments.clean_markup
    return tokenizer is not None and text_settings(tokenizer).get("clean_markup", False)


def _tell_other_settings(arguments: TextArguments, tokenizer: PreTrainedTokenizerFast) -> None:
    for name, kept in text_settings(tokenizer).items():
        if getattr(arguments, name) not in (None, kept):
            given = getattr(arguments, name)
            logger.warning("`%s` is %s, as given; the model was trained under %s.", name, given, kept)
