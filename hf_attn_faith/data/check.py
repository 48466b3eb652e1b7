"""Which columns hold the texts and labels, and whether every row is fit to be read."""

import logging

import datasets

from ..errors import InputError, shortened
from .markup import remove_markup

logger = logging.getLogger(__name__)

TEXT_COLUMNS = ("text", "sentence", "content", "review", "review_text", "review_body", "comment", "tweet", "document")
LABEL_COLUMNS = ("label", "labels", "class", "target", "category", "sentiment")
SPANS = datasets.List(datasets.List(datasets.Value("int64")))


def columns_of(splits, origins, text_column, label_column):
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
            listed = ", ".join(shortened(name, 40) for name in dataset.column_names)
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


def checked(dataset, origin, text_column, labels, label_feature, clean_markup) -> datasets.Dataset:
    """The split with `text`, `label` and, where it has one, `rationale` alone."""
    texts = dataset[text_column][:]
    for row, text in enumerate(texts):
        if text is None:
            raise InputError(
                f"{origin}, column {text_column}, row {row} (from 0) has no text: fill it in or take the row out."
            )
        if not isinstance(text, str):
            raise InputError(
                f"{origin}, column {text_column}, row {row} (from 0) holds {shortened(repr(text), 40)}, no text: "
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
