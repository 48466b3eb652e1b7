"""Scores of every model of an audit."""

import pandas as pd

from .base import Analysis, Evidence, Result
from .scores import scores


class Classifiers(Analysis):
    name = "classifiers"
    title = "Scores of every model"
    caption = "Each model on the test split, which no model was selected on."
    cannot_say = "anything about attention; nor whether two models differ by more than chance."
    columns = {
        "model": "its name in the run",
        "accuracy": "share of texts whose label is predicted",
        "f1": "F1 of the positive label where there are two, macro F1 else",
        "roc_auc": "area under the ROC curve, macro for more than two labels; empty where a label does not occur",
        "n": "test texts",
        "role": "base, seed, uniform, adversary or guided",
        "kl_weight": "λ of an adversary, or of the one that guides an MLP",
        "start": "what an adversary started from",
        "guide": "whose weights an MLP is given",
        "seed": "which of the models that differ in their seed alone",
    }
    uses = ("seed", "uniform", "adversary", "guided")
    settings = ("positive_label",)

    def run(self, evidence: Evidence, seed: int, positive_label: str | None = None) -> Result:
        sets = evidence.of("base", *self.uses)
        rows = [{"model": spec.name, **scores(s, positive_label), **spec.columns} for spec, s in sets.items()]
        return Result(pd.DataFrame(rows))
