"""How far apart are models that differ in their seed alone? (Wiegreffe & Pinter 2019, section 3.3)"""

from itertools import combinations

import pandas as pd
from matplotlib.figure import Figure

from ..figures.style import violins
from .base import Analysis, Evidence, Result, Results
from .comparison import compare, distances


class SeedVariance(Analysis):
    name = "seed_variance"
    title = "Seed variance"
    caption = (
        "Every pair of models that differ in their seed alone: how far attention (JSD) and output (TVD) move when "
        "nothing else changes. The floor against which adversaries are read."
    )
    cannot_say = "that weights which stay the same under other seeds are right, or that those which move are wrong."
    columns = {
        "seed_a, seed_b": "the two models",
        "jsd_mean, jsd_median": "over test texts, the JSD of their attentions, in nats, at most ln 2 = 0.693",
        "tvd_mean": "over test texts, the TVD of their outputs, a probability",
    }
    requires = ("base", "seed")
    figure_names = ("seed_variance",)

    def run(self, evidence: Evidence, seed: int) -> Result:
        rows, instances = [], []
        for (a, set_a), (b, set_b) in combinations(evidence.of("base", "seed").items(), 2):
            pair = compare(set_a, set_b)
            rows.append({"seed_a": a.name, "seed_b": b.name, **distances(pair)})
            instances.append(pair.assign(model_a=a.name, model_b=b.name, role_a=a.role, role_b=b.role))
        return Result(pd.DataFrame(rows), pd.concat(instances))

    def figures(self, results: Results) -> dict[str, Figure]:
        """JSD between the base's attention and other seeds', by the base's maximum attention and predicted label, as
        in Figure 3 (a-d) of Wiegreffe & Pinter."""
        instances = results[self.name].instances
        instances = instances[instances.role_a == "base"]
        figure = Figure(figsize=(5.2, 3.6))
        violins(figure.subplots(), instances, f"{instances.model_b.nunique()} other seeds")
        figure.suptitle("Attention under another seed", fontsize=10)
        return {self.name: figure}

    def sentences(self, results: Results) -> list[str]:
        table = results[self.name].table
        with_base = table[(table.seed_a == "base") | (table.seed_b == "base")].jsd_mean.mean()
        models = sorted(set(table.seed_a) | set(table.seed_b))
        choices = [table[(table.seed_a == m) | (table.seed_b == m)].jsd_mean.mean() for m in models]
        return [
            f"Seed variance: between models that differ in their seed alone, attention moves by a mean JSD of "
            f"{table.jsd_mean.mean():.3f} nats (base to others {with_base:.3f}; {min(choices):.3f} to "
            f"{max(choices):.3f} whichever of the {len(models)} is taken as base): the floor against which adversaries "
            "are read."
        ]
