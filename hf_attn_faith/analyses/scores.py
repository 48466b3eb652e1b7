"""Accuracy, F1 and AUC of a prediction set, and of groups of them."""

from collections.abc import Iterable

import datasets
import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from ..errors import InputError
from .bootstrap import f1_difference


def scores(prediction_set: datasets.Dataset, positive_label: str | None) -> dict[str, float]:
    """accuracy, f1 and roc_auc (of the positive label where there are two, macro else) and n of a prediction set.

    roc_auc is NaN where one of the labels does not occur: it is undefined then.
    """
    labels = np.array(prediction_set["label"][:])
    probability = np.array(prediction_set["probabilities"][:])
    predicted = probability.argmax(1)
    occur = len(np.unique(labels)) == probability.shape[1]
    positive = positive_index(prediction_set, positive_label)
    if positive is None:
        f1 = f1_score(labels, predicted, average="macro", zero_division=0)
        # float32 rows sum to one within 1e-7 only.
        share = probability / probability.sum(1, keepdims=True)
        auc = roc_auc_score(labels, share, average="macro", multi_class="ovr") if occur else np.nan
    else:
        f1 = f1_score(labels, predicted, pos_label=positive, zero_division=0)
        auc = roc_auc_score(labels == positive, probability[:, positive]) if occur else np.nan
    return {"accuracy": accuracy_score(labels, predicted), "f1": f1, "roc_auc": auc, "n": len(labels)}


def positive_index(dataset: datasets.Dataset, positive_label: str | None) -> int | None:
    """The label F1 is about: `positive_label`, or label 1 of two; None means macro F1."""
    names = dataset.features["label"].names
    if positive_label is None:
        return 1 if len(names) == 2 else None
    if len(names) != 2:
        raise InputError(f"`positive_label` is for two labels; this dataset has {len(names)} and gets macro F1.")
    if positive_label not in names:
        raise InputError(
            f"`positive_label` {positive_label} is no label of this dataset: take one of {', '.join(names)}."
        )
    return names.index(positive_label)


def predicted_labels(sets: Iterable[datasets.Dataset]) -> np.ndarray:
    """What each model predicts of each text, (models, N)."""
    return np.array([np.array(prediction_set["probabilities"][:]).argmax(1) for prediction_set in sets])


def mean_and_std(sets: list[datasets.Dataset], positive_label: str | None, *names: str) -> dict[str, float]:
    """Mean and standard deviation (undefined for one model) of scores over models: `NAME_mean`, `NAME_std`."""
    table = pd.DataFrame([scores(prediction_set, positive_label) for prediction_set in sets])
    return {f"{name}_{kind}": value for name in names for kind, value in table[name].agg(["mean", "std"]).items()}


def f1_difference_of(
    sets_a: list[datasets.Dataset], sets_b: list[datasets.Dataset], positive_label: str | None, seed: int
) -> dict:
    """The difference of the mean F1 of two groups of models, with its 95 % interval and a warning where it is weak:
    `f1_difference`, `f1_ci_low`, `f1_ci_high`, `warning`."""
    labels = np.array(sets_a[0]["label"][:])
    predicted = [predicted_labels(sets) for sets in (sets_a, sets_b)]
    difference = f1_difference(labels, *predicted, positive_index(sets_a[0], positive_label), seed)
    warning = "one model alone" if min(len(sets_a), len(sets_b)) == 1 else ""
    return dict(zip(("f1_difference", "f1_ci_low", "f1_ci_high"), difference, strict=True)) | {"warning": warning}
