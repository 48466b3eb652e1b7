"""Is attention needed at all? (Wiegreffe & Pinter 2019, section 3.2)"""

import pandas as pd
from matplotlib.figure import Figure

from ..figures.style import dots
from .base import Analysis, Evidence, Result, Results
from .scores import f1_difference_of, mean_and_std


class UniformBaseline(Analysis):
    name = "uniform_baseline"
    title = "Uniform baseline"
    caption = (
        "The same classifier with uniform attention (a transformer: in the row that is read), and what trained "
        "attention gains, with its 95 % interval over seeds and test texts. Where it gains nothing, the task does not "
        "need attention and is a weak testbed for all that follows."
    )
    cannot_say = "that attention explains where it gains something: a model may need weights that nobody can read."
    columns = {
        "model": "`base`: trained attention, the base and its seeds; `uniform`: every token weighted alike",
        "f1_mean, f1_std": "mean and standard deviation of F1 over seeds",
        "accuracy_mean, accuracy_std": "the same of accuracy",
        "seeds": "models",
        "f1_difference, f1_ci_low, f1_ci_high": "F1 of trained minus F1 of uniform attention, with its interval",
        "warning": "what makes the interval weak",
    }
    requires = ("base", "uniform")
    figure_names = ("uniform_baseline",)
    uses = ("seed",)
    settings = ("positive_label",)

    def run(self, evidence: Evidence, seed: int, positive_label: str | None = None) -> Result:
        groups = {
            "base": list(evidence.of("base", "seed").values()),
            "uniform": list(evidence.of("uniform").values()),
        }
        rows = [
            {"model": group, **mean_and_std(sets, positive_label, "f1", "accuracy"), "seeds": len(sets)}
            for group, sets in groups.items()
        ]
        rows[0] |= f1_difference_of(groups["base"], groups["uniform"], positive_label, seed)
        return Result(pd.DataFrame(rows))

    def figures(self, results: Results) -> dict[str, Figure]:
        scores = results["classifiers"].table.set_index("role").f1
        figure = Figure(figsize=(5.2, 2.4))
        trained = scores[scores.index.isin(["base", "seed"])]
        dots(figure.subplots(), {"trained attention": trained, "uniform attention": scores[["uniform"]]})
        figure.suptitle(f"Difference {_difference(results[self.name].table.iloc[0])}", fontsize=10)
        return {self.name: figure}

    def sentences(self, results: Results) -> list[str]:
        return [
            f"Uniform baseline: trained attention gains {_difference(results[self.name].table.iloc[0])} over uniform "
            "weights; where it gains nothing, the task does not need attention and is a weak testbed for all that "
            "follows."
        ]


def _difference(row) -> str:
    if row.warning:
        return f"{row.f1_difference:+z.3f} F1 ({row.warning})"
    return f"{row.f1_difference:+z.3f} F1, 95 % interval [{row.f1_ci_low:+z.3f}, {row.f1_ci_high:+z.3f}]"
