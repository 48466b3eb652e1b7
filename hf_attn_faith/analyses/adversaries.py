"""How far can attention move while the output stays? (Wiegreffe & Pinter 2019, section 4)"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..divergences import LN2
from ..figures.style import COLOURS, MARKERS, label_points, name_marks, violins
from ..specs import ModelSpec
from .base import Analysis, Evidence, Result, Results
from .comparison import compare, distances
from .failures import failed_adversaries
from .scores import scores


class Adversaries(Analysis):
    name = "adversaries"
    title = "Model-consistent adversaries"
    caption = (
        "For each λ and start, the mean over adversaries: how far their attention (JSD) and their output (TVD) are "
        "from the base's. Seeds and uniform models are references in the figure."
    )
    cannot_say = (
        "that the base's attention is wrong; nor, where no adversary is far away, that no model attends elsewhere."
    )
    columns = {
        "kl_weight": "λ: what a nat of KL is worth in TVD",
        "start": "what they started from: weights of another seed, the base's initial ones, or the trained base with a "
        "new attention layer (warm)",
        "f1_mean, f1_std": "mean and standard deviation over adversaries of their F1",
        "tvd_mean, tvd_std": "of their mean TVD to the base, a probability",
        "jsd_mean, jsd_std": "of their mean JSD to the base, in nats, at most ln 2 = 0.693",
        "seeds": "adversaries that trained, over which the means are",
        "trained, failed": "how many trained, and how many did not: on validation no nearer to the base's output than "
        "the best constant one",
        "kl_weight_in_paper_code": "λ as in the code of the paper, which halves the TVD",
        "special_share": "of a transformer, the share of their row on special tokens, mean over adversaries and texts",
        "trainable_layers": "of a transformer, the layers that they might change",
    }
    requires = ("base", "adversary")
    figure_names = ("adversary_variance", "tvd_jsd")
    uses = ("seed", "uniform")
    settings = ("positive_label", "trainable_layers")

    def run(
        self, evidence: Evidence, seed: int, positive_label: str | None = None, trainable_layers: int | None = None
    ) -> Result:
        failed = failed_adversaries(evidence)
        instances, models = [], []
        for spec, prediction_set in evidence.of("seed", "uniform", "adversary").items():
            pair = compare(evidence.base, prediction_set)
            facts = spec.columns | {"failed": spec in failed}
            instances.append(pair.assign(model=spec.name, **facts))
            if spec.role == "adversary":
                models.append(facts | distances(pair) | scores(prediction_set, positive_label))
                if evidence.of_readout:
                    models[-1]["special_share"] = np.mean(prediction_set["special_share"][:])
        rows = []
        for (kl_weight, start), group in pd.DataFrame(models).groupby(["kl_weight", "start"], sort=True):
            row, trained = {"kl_weight": kl_weight, "start": start}, group[~group.failed]
            for name, column in (("f1", "f1"), ("tvd", "tvd_mean"), ("jsd", "jsd_mean")):
                row |= {f"{name}_mean": trained[column].mean(), f"{name}_std": trained[column].std()}
            counts = {"trained": len(trained), "failed": len(group) - len(trained)}
            rows.append({**row, "seeds": len(trained), "kl_weight_in_paper_code": kl_weight / 2, **counts})
            if evidence.of_readout:
                layers = "all" if trainable_layers is None else trainable_layers
                rows[-1] |= {"special_share": trained.special_share.mean(), "trainable_layers": layers}
        return Result(pd.DataFrame(rows), pd.concat(instances))

    def figures(self, results: Results) -> dict[str, Figure]:
        drawn = {"adversary_variance": self._variance(results), "tvd_jsd": self._tvd_jsd(results)}
        return {name: figure for name, figure in drawn.items() if figure is not None}

    def _variance(self, results: Results) -> Figure | None:
        """JSD between the base's attention and its adversaries', as in `seed_variance`, a panel each λ and start."""
        instances = results[self.name].instances
        groups = list(instances[(instances.role == "adversary") & ~instances.failed].groupby(["kl_weight", "start"]))
        if not groups:
            return None
        columns = min(3, len(groups))
        rows = -(-len(groups) // columns)
        figure = Figure(figsize=(1.2 + 3.7 * columns, 0.6 + 3.0 * rows))
        panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for axes, ((kl_weight, start), group) in zip(panels.flat, groups, strict=False):
            violins(axes, group, f"λ = {kl_weight:g}, {start} (n = {group.model.nunique()})")
        for axes in panels.flat[len(groups) :]:
            axes.remove()
        figure.suptitle("Attention of model-consistent adversaries", fontsize=10)
        return figure

    def _tvd_jsd(self, results: Results) -> Figure:
        """Mean TVD of the outputs against mean JSD of the attentions, over λ and for each start, with seeds and
        uniform models as references (Wiegreffe & Pinter, Figure 5)."""
        table, instances = results[self.name].table, results[self.name].instances
        table = table[table.trained > 0]
        figure = Figure(figsize=(5.6, 4.2))
        axes = figure.subplots()
        means = instances.groupby(["role", "model"])[["tvd", "jsd"]].mean()
        for role, label, marker, colour in (
            ("seed", "other seeds", "x", "black"),
            ("uniform", "uniform", "+", "#666666"),
        ):
            if role in means.index:
                points = means.loc[role]
                (line,) = axes.plot(points.tvd, points.jsd, marker, color=colour, markersize=7, label=label, zorder=3)
                if role == "seed":  # the single texts have no uniform models
                    name_marks(line, points.index)
        curves = [curve.sort_values("kl_weight") for _, curve in table.groupby("start")]
        for number, curve in enumerate(curves):
            # No distance is outside its range, however far the adversaries of a λ lie apart.
            errors = [
                [
                    curve[f"{name}_std"].astype(float).fillna(0).clip(upper=curve[f"{name}_mean"]),
                    curve[f"{name}_std"].astype(float).fillna(0).clip(upper=limit - curve[f"{name}_mean"]),
                ]
                for name, limit in (("tvd", 1), ("jsd", LN2))
            ]
            line, _, _ = axes.errorbar(
                curve.tvd_mean,
                curve.jsd_mean,
                xerr=errors[0],
                yerr=errors[1],
                color=COLOURS[number],
                marker=MARKERS[number],
                capsize=2,
                linewidth=1.2,
                label=f"adversaries, {curve.start.iloc[0]} (λ; ± 1 sd)",
            )
            specs = [ModelSpec("adversary", 0, row.kl_weight, row.start) for row in curve.itertuples()]
            name_marks(line, [spec.group for spec in specs])
        attack = None
        if "instance_attack" in results:
            attack = results["instance_attack"].instances.groupby("epsilon")[["tvd", "jsd"]].mean()
            # Not a bound on adversaries, which change the other parameters too.
            axes.plot(attack.tvd, attack.jsd, color="#666666", marker="*", linestyle="--", linewidth=1,
                      label="attacks on the frozen base (ε)")  # fmt: skip
        axes.axhline(LN2, color="#999999", linestyle=":", linewidth=1)
        axes.annotate("ln 2, the largest possible", (1, LN2), (-2, -3), ("axes fraction", "data"), "offset points",
                      ha="right", va="top", color="#666666")  # fmt: skip
        axes.margins(x=0.15)
        axes.set(
            xlabel="mean TVD of the outputs to the base (probability)",
            ylabel="mean JSD of the attention to the base (nats)",
            xlim=(0, axes.get_xlim()[1]),
            ylim=(-0.01, LN2 + 0.06),
        )
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        figure.draw_without_rendering()  # lays out, so that labels know where they are
        points = [
            point for curve in curves for point in zip(curve.tvd_mean, curve.jsd_mean, curve.kl_weight, strict=True)
        ]
        if attack is not None:
            points += zip(attack.tvd, attack.jsd, attack.index, strict=True)
        if points:
            x, y, values = zip(*points, strict=True)
            label_points(axes, x, y, [f"{value:g}" for value in values])
        return figure
