"""From the options of a command to encoded splits and a tokenizer."""

import datasets
from transformers import PreTrainedTokenizerFast

from ..arguments import DataArguments, TextArguments
from .encode import encode
from .sources import load_text_classification
from .tokenizer import load_tokenizer, train_word_tokenizer


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

    `TextArguments` are enough where a tokenizer is given.
    """
    texts = load_texts(arguments)
    if tokenizer is None and arguments.tokenizer is not None:
        tokenizer = load_tokenizer(arguments.tokenizer)
    if tokenizer is None:
        tokenizer = train_word_tokenizer(
            texts["train"]["text"],
            lowercase=arguments.lowercase,
            digits=arguments.digits,
            min_frequency=arguments.min_frequency,
            max_vocab_size=arguments.max_vocab_size,
        )
    return encode(texts, tokenizer, arguments.max_length), tokenizer
