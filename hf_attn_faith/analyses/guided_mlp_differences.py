"""The guides of the MLP side by side."""

from itertools import combinations

import pandas as pd

from ..specs import by_group
from .base import Analysis, Evidence, Result, Results
from .failures import trained_guides
from .scores import f1_difference_of


class GuidedMlpDifferences(Analysis):
    name = "guided_mlp_differences"
    title = "Guides against each other"
    caption = "Every pair of guides, with the 95 % interval of its difference over MLPs and test texts."
    cannot_say = "why one guide is better: by where its weights lie, or by what they carry of the label."
    columns = {
        "guide_a, guide_b": "the two guides",
        "f1_difference, f1_ci_low, f1_ci_high": "F1 under guide_a minus F1 under guide_b, with its interval",
        "warning": "what makes the interval weak",
    }
    requires = ("guided",)
    uses = ("base", "adversary")
    settings = ("positive_label",)

    def run(self, evidence: Evidence, seed: int, positive_label: str | None = None) -> Result:
        sets = trained_guides(evidence)
        guides = {members[0].guided_by: [sets[spec] for spec in members] for members in by_group(sets).values()}
        rows = [
            {"guide_a": a, "guide_b": b, **f1_difference_of(guides[a], guides[b], positive_label, seed)}
            for a, b in combinations(guides, 2)
        ]
        return Result(pd.DataFrame(rows))

    def sentences(self, results: Results) -> list[str]:
        table = results[self.name].table
        pairs = {(row.guide_a, row.guide_b): row for row in table.itertuples()}

        def said(a, b) -> str:
            sign, row = (1, pairs[a, b]) if (a, b) in pairs else (-1, pairs[b, a])
            low, high = sorted((sign * row.f1_ci_low, sign * row.f1_ci_high))
            found = f"{sign * row.f1_difference:+z.3f} F1"
            return f"{found} ({row.warning})" if row.warning else f"{found} [{low:+z.3f}, {high:+z.3f}]"

        written = [
            "Guided MLP: to a model that sees each token alone, the base's weights are worth "
            f"{said('base', 'uniform')} over uniform ones, {said('base', 'trained')} over its own, and "
            f"{said('base', 'permuted')} over the same weights shuffled."
        ]
        guided = results["guided_mlp"].table
        adversaries = guided.guide[guided.start.notna()]
        if len(adversaries):
            worth = "; ".join(f"{guide} {said(guide, 'base')}" for guide in adversaries)
            written.append(f"Guided MLP under the adversaries' weights, against the base's: {worth}.")
        return written
