"""Prediction sets made up."""

import datasets
import numpy as np


def prediction_set(rows=40, classes=2, seed=0, lengths=None, labels=None, names=None, **columns):
    rng = np.random.default_rng(seed)
    lengths = np.arange(rows) % 9 if lengths is None else lengths
    names = names or [f"label {i}" for i in range(classes)]
    floats = datasets.List(datasets.Value("float32"))
    features = {
        "row": datasets.Value("int64"),
        "label": datasets.ClassLabel(names=names),
        "probabilities": floats,
        "token_attention": floats,
    }
    data = {
        "row": np.arange(rows),
        "label": np.arange(rows) % classes if labels is None else labels,
        "probabilities": rng.dirichlet(np.ones(classes), rows).astype(np.float32),
        "token_attention": [
            rng.dirichlet(np.ones(length)).astype(np.float32) if length else np.zeros(0) for length in lengths
        ],
    }
    return datasets.Dataset.from_dict(data | columns, features=datasets.Features(features))
