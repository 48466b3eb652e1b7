"""From the options of a command to encoded splits and a tokenizer."""

import logging
from dataclasses import replace

import datasets
from transformers import PreTrainedTokenizerFast

from ..arguments import DataArguments, TextArguments
from .encode import encode
from .sources import load_text_classification
from .tokenizer import load_tokenizer, text_settings, train_word_tokenizer

logger = logging.getLogger(__name__)


def load_texts(arguments: TextArguments) -> datasets.DatasetDict:
    """The splits train, validation and test with the columns `text` and `label`."""
    return load_text_classification(
        arguments.dataset_name,
        dataset_config=arguments.dataset_config,
        dataset_revision=arguments.dataset_revision,
        text_column=arguments.text_column,
        label_column=arguments.label_column,
        validation_fraction=arguments.validation_fraction,
        test_fraction=arguments.test_fraction,
        max_train_samples=arguments.max_train_samples,
        clean_markup=arguments.clean_markup,
        seed=arguments.split_seed,
    )


def prepare(
    arguments: DataArguments | TextArguments, tokenizer: PreTrainedTokenizerFast | None = None
) -> tuple[datasets.DatasetDict, PreTrainedTokenizerFast]:
    """Encoded splits and their tokenizer: the given one, the one the options name, or one trained on train alone.

    `TextArguments` are enough where a tokenizer is given: a model's own, which knows the `max_length` and the
    `clean_markup` that the model was trained under. An option that contradicts it is told.
    """
    if tokenizer is not None:
        for name, kept in text_settings(tokenizer).items():
            if getattr(arguments, name) not in (None, kept):
                given = getattr(arguments, name)
                logger.warning("`%s` is %s, as given; the model was trained under %s.", name, given, kept)
    elif arguments.tokenizer is not None:
        tokenizer = load_tokenizer(arguments.tokenizer)
    clean_markup = arguments.clean_markup
    if clean_markup is None:
        clean_markup = tokenizer is not None and text_settings(tokenizer).get("clean_markup", False)
    texts = load_texts(replace(arguments, clean_markup=clean_markup))
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
    return encoded, tokenizer
