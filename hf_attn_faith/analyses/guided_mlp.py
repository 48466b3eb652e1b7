"""What are the weights worth to a model that sees each token alone? (Wiegreffe & Pinter 2019, section 3.4)"""

import pandas as pd
from matplotlib.figure import Figure

from ..figures.style import dots
from ..specs import by_group
from .base import Analysis, Evidence, Result, Results
from .failures import trained_guides
from .scores import mean_and_std


class GuidedMlp(Analysis):
    name = "guided_mlp"
    title = "Guided MLP"
    caption = (
        "A token-wise MLP whose pooling weights are imposed. Good weights make it better. MLPs under the weights of "
        "adversaries that failed to train are left out."
    )
    cannot_say = "that good weights explain the model that made them: they may carry information on the label from it."
    columns = {
        "guide": "whose weights: uniform, its own (trained), the base's, the base's shuffled within each text "
        "(permuted), an adversary's; where the words that decide are known, those alone (rationale), or all others",
        "f1_mean, f1_std": "mean and standard deviation of F1 over MLPs",
        "accuracy_mean, accuracy_std": "the same of accuracy",
        "seeds": "MLPs",
        "kl_weight, start": "of the adversaries that guide them",
    }
    requires = ("guided",)
    uses = ("base", "adversary")
    figure_names = ("guided_mlp",)
    settings = ("positive_label",)

    def run(self, evidence: Evidence, seed: int, positive_label: str | None = None) -> Result:
        sets, rows = trained_guides(evidence), []
        for members in by_group(sets).values():
            scores = mean_and_std([sets[spec] for spec in members], positive_label, "f1", "accuracy")
            first = members[0]
            facts = {"kl_weight": first.kl_weight, "start": first.start}
            rows.append({"guide": first.guided_by, **scores, "seeds": len(members), **facts})
        return Result(pd.DataFrame(rows))

    def figures(self, results: Results) -> dict[str, Figure]:
        """F1 of the MLPs under every guide (Wiegreffe & Pinter, Table 3)."""
        scores = results["classifiers"].table
        guided = scores[scores.role == "guided"]
        groups = {guide: guided.f1[guided.guide == guide] for guide in results[self.name].table.guide}
        figure = Figure(figsize=(5.8, 0.9 + 0.33 * len(groups)))
        dots(figure.subplots(), groups)
        figure.suptitle("Token-wise MLP under imposed attention", fontsize=10)
        return {self.name: figure}
