"""Small tables of texts and labels, as files and as a Hub, and what reading them says."""

import datasets
import pandas as pd
import pytest

from hf_attn_faith.data import read
from hf_attn_faith.data.sources import load_text_classification
from hf_attn_faith.errors import InputError


def frame(size=20, classes=2, **columns):
    columns = {"text": [f"text {i}" for i in range(size)], "label": [i % classes for i in range(size)]} | columns
    return pd.DataFrame(columns)


WRITERS = {
    "parquet": lambda table, path: table.to_parquet(path, index=False),
    "csv": lambda table, path: table.to_csv(path, index=False),
    "tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    "jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    "json": lambda table, path: table.to_json(path, orient="records"),
}


def write(folder, suffix="parquet", **tables):
    folder.mkdir(exist_ok=True)
    for name, table in tables.items():
        WRITERS[suffix](table, folder / f"{name}.{suffix}")
    return str(folder)


def failure(*arguments, **options):
    with pytest.raises(InputError) as error:
        load_text_classification(*map(str, arguments), **options)
    assert "\n" not in str(error.value) and len(str(error.value)) < 300
    return str(error.value)


def names(data):
    return data["train"].features["label"].names


def hub(monkeypatch, **splits):
    """The Hub has one dataset, these splits."""
    monkeypatch.setattr(read.datasets, "load_dataset", lambda name, config, revision: datasets.DatasetDict(splits))


def named(size, label_names, labels=None):
    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=label_names)}
    )
    labels = labels if labels is not None else [i % 2 for i in range(size)]
    return datasets.Dataset.from_dict(
        {"sentence": [f"text {i}" for i in range(size)], "label": labels}, features=features
    )
