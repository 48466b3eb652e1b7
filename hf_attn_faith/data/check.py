"""Which columns hold the texts and labels, and whether every row is fit to be read."""

import logging

import datasets

from ..errors import InputError, shortened
from .markup import remove_markup
from .read import Source

logger = logging.getLogger(__name__)

TEXT_COLUMNS = ("text", "sentence", "content", "review", "review_text", "review_body", "comment", "tweet", "document")
# What else is called so is a text too, so that it must not be left out without being asked about.
OTHER_TEXT_COLUMNS = (
    *("question", "answer", "query", "premise", "hypothesis", "passage", "context", "title", "headline", "summary"),
    *("body", "description", "sentence1", "sentence2", "text1", "text2", "question1", "question2"),
)
LABEL_COLUMNS = ("label", "labels", "class", "target", "category", "sentiment")
SPANS = datasets.List(datasets.List(datasets.Value("int64")))


def columns_of(
    splits: dict[str, Source], text_column: str | list[str] | None, label_column: str | None, labelled: bool = True
) -> tuple[list[str], str | None]:
    """The columns of the texts, and that of the labels: those that are named, or else guessed where obvious.

    Unless `labelled`, there need be none. Raises `InputError` where a named column is not there, or where the guess is
    not obvious, as with text pairs.
    """
    source = next(iter(splits.values()))
    features = source.data.features
    listed = shortened(", ".join(shortened(name, 40) for name in features), 100)
    guessed = text_column is None or label_column is None
    if label_column is None:
        label_column = _guess(LABEL_COLUMNS, features)
        if label_column is None and labelled:
            hint = _hint(source)
            raise InputError(f"{source.name}: which column? It has {listed}{hint}: name one with `label_column`.")
    elif label_column not in features and labelled:
        raise InputError(f"{source.name} has no column {label_column}, only {listed}: see `label_column`.")
    if text_column is None:
        text_column = _guessed_text_column(source, label_column, listed)
    columns = [text_column] if isinstance(text_column, str) else list(text_column)
    for split in splits.values():
        for column in columns:
            if column not in split.data.column_names:
                there = shortened(", ".join(split.data.column_names), 100)
                raise InputError(f"{split.name} has no column {column}, only {there}{_hint(split)}: see `text_column`.")
    if label_column in columns:
        raise InputError(f"`text_column` and `label_column` are both {label_column}: name two columns.")
    if len(set(columns)) < len(columns):
        raise InputError(f"text_column names {', '.join(columns)}: name each column once.")
    if guessed and (columns, label_column) != (["text"], "label"):
        logger.info(
            "Texts are read from the column %s, %s.",
            " and ".join(columns),
            f"labels from {label_column}" if label_column else "and there are no labels",
        )
    return columns, label_column


def _guessed_text_column(source: Source, label_column: str | None, listed: str) -> str:
    others = [column for column in source.data.column_names if column != label_column]
    strings = [column for column in others if _is_string(source.data.features[column])]
    best = _guess(TEXT_COLUMNS, others)
    if best is None and len(strings) == 1:
        best = strings[0]
    texts = [column for column in strings if column == best or _is_text(source.data, column)]
    if len(texts) > 1:
        raise InputError(
            f"{source.name} has several columns of texts ({shortened(', '.join(texts), 80)}): name one with "
            "`text_column`, or several to be joined."
        )
    if best is None and len(texts) == 1:
        best = texts[0]
    if best is None:
        raise InputError(f"{source.name}: which column? It has {listed}{_hint(source)}: name one with `text_column`.")
    return best


def _is_text(data: datasets.Dataset, column: str) -> bool:
    """Whether it is called like a text, or holds many different rows of several words."""
    if column.lower() in (*TEXT_COLUMNS, *OTHER_TEXT_COLUMNS):
        return True
    cells = [cell for cell in data[:200][column] if cell]
    words = [word for cell in cells for word in cell.split()]
    return (
        len(words) >= 3 * len(cells) > 0
        and sum(word.strip(".,;:!?'\"()").isalpha() for word in words) > 0.7 * len(words)
        and len(set(cells)) > len(cells) / 2
    )


def _guess(names, columns):
    by_lower_case = {column.lower(): column for column in reversed(list(columns))}
    return next((by_lower_case[name] for name in names if name in by_lower_case), None)


def _hint(source: Source) -> str:
    """What to say where the first line of a file seems to be a row and no header: a cell that stands below it too."""
    for column in source.data.column_names:
        cells = source.data[column][:] if _is_string(source.data.features[column]) else []
        if column.isdigit() or (column in cells and len(set(cells)) < len(cells)):
            return " (the first line looks like a row: put a header such as text,label above it)"
    return ""


def joined_texts(source: Source, columns: list[str], separator: str = " | ", clean_markup: bool = False) -> list[str]:
    """The text of every row, several columns joined by the separator. Raises `InputError` for one that is none."""
    parts = []
    for column in columns:
        texts = source.data[column][:]
        for row, text in enumerate(texts):
            if text is None:
                raise InputError(f"{source.at(row, column)} has no text: fill it in or take the row out.")
            if not isinstance(text, str):
                raise InputError(
                    f"{source.at(row, column)} holds {shortened(repr(text), 40)}, no text: "
                    "put quotes around it or name another column with `text_column`."
                )
        parts.append(list(map(remove_markup, texts)) if clean_markup else texts)
    texts = [separator.join(row) for row in zip(*parts, strict=True)] if len(parts) > 1 else parts[0]
    if not any(text.strip() for part in parts for text in part):
        raise InputError(
            f"{source.name}, column {columns[0]} has nothing but empty texts: name another with `text_column`."
        )
    return texts


def checked(
    source: Source,
    columns: list[str],
    labels: list[int] | None,
    label_feature: datasets.ClassLabel | None,
    separator: str = " | ",
    clean_markup: bool = False,
) -> datasets.Dataset:
    """The split with `text`, and with `label` and `rationale` where it has them, alone."""
    texts = joined_texts(source, columns, separator, clean_markup)
    table: dict[str, list] = {"text": texts}
    features = {"text": datasets.Value("string")}
    if labels is not None:
        table["label"], features["label"] = labels, label_feature
    has_rationale = "rationale" in source.data.column_names and "rationale" not in columns
    if has_rationale and not (_is_spans(source.data.features["rationale"]) and len(columns) == 1):
        logger.info(
            "%s: the column rationale is not used, as it holds no lists of [start, end) pairs in one text.", source.name
        )
        has_rationale = False
    if has_rationale:
        table["rationale"], features["rationale"] = source.data["rationale"][:], SPANS
        for row, (text, spans) in enumerate(zip(texts, table["rationale"], strict=True)):
            if spans is None or not all(len(span) == 2 and 0 <= span[0] < span[1] <= len(text) for span in spans):
                raise InputError(f"{source.at(row, 'rationale')} has spans outside its text: give [start, end) pairs.")
        if clean_markup:
            raise InputError(
                f"{source.name}: `clean_markup` would shift the spans of the column rationale: leave it out."
            )
    return datasets.Dataset.from_dict(table, features=datasets.Features(features))


def _is_string(feature) -> bool:
    return isinstance(feature, datasets.Value) and "string" in feature.dtype


def _is_spans(feature) -> bool:
    match feature:
        case datasets.List(feature=datasets.List(feature=datasets.Value(dtype=dtype))):
            return "int" in dtype
    return False
