"""Is an adversary further from the base than another seed is, in attention and in output?"""

import numpy as np
import pandas as pd

from ..divergences import LN2
from ..specs import by_group
from .base import Analysis, Evidence, Result, Results
from .bootstrap import Difference, mean_difference, superiority
from .comparison import compare
from .failures import failed_adversaries


class Calibration(Analysis):
    name = "calibration"
    title = "Adversaries against seeds"
    caption = (
        "How much further adversaries that trained are from the base than other seeds are. Intervals resample test "
        "texts and models together; there is none for one model alone."
    )
    cannot_say = "how far is too far: for that the verdicts have their margins."
    columns = {
        "kl_weight, start": "the group of adversaries",
        "jsd_difference, jsd_ci_low, jsd_ci_high": "mean JSD of adversaries to the base minus that of other seeds, in "
        "nats, with its 95 % interval",
        "superiority": "the chance that, on one text, an adversary's attention is further away than another seed's "
        "(0.5: no difference)",
        "tvd_difference, tvd_ci_low, tvd_ci_high": "the same difference of the TVD of the outputs, a probability",
        "adversary_seeds": "adversaries of the group",
        "seeds": "seeds, the base included",
        "warning": "what makes the interval weak: under five seeds, under three adversaries",
    }
    requires = ("base", "seed", "adversary")

    def run(self, evidence: Evidence, seed: int) -> Result:
        failed = failed_adversaries(evidence)
        sets = evidence.of("seed", "adversary")
        pairs = {spec: compare(evidence.base, sets[spec]) for spec in sets if spec not in failed}
        groups = by_group(pairs)
        seeds = groups.pop("base")

        def values(members, column):
            return np.array([pairs[spec][column] for spec in members])

        rows = []
        for adversaries in groups.values():
            jsd = values(adversaries, "jsd"), values(seeds, "jsd")
            tvd = values(adversaries, "tvd"), values(seeds, "tvd")
            # The base is the fifth of five seeds.
            few = [f"{len(seeds) + 1} seeds"] * (len(seeds) < 4) + [f"{len(adversaries)} adversaries"] * (
                len(adversaries) < 3
            )
            row = {"kl_weight": adversaries[0].kl_weight, "start": adversaries[0].start}
            row |= _interval("jsd", mean_difference(*jsd, seed, LN2)) | {"superiority": superiority(*jsd)}
            row |= _interval("tvd", mean_difference(*tvd, seed, 1.0))
            row |= {"adversary_seeds": len(adversaries), "seeds": len(seeds) + 1}
            rows.append(row | {"warning": f"poorly estimated from {' and '.join(few)}" if few else ""})
        return Result(pd.DataFrame(rows))

    def sentences(self, results: Results) -> list[str]:
        table = results["adversaries"].table.merge(results[self.name].table, on=["kl_weight", "start"])
        row = table.sort_values("jsd_mean").iloc[-1]
        beyond, apart = (
            f"{difference:+z.3f} [{low:+z.3f}, {high:+z.3f}]" if low == low else f"{difference:+z.3f}"
            for difference, low, high in (
                (row.jsd_difference, row.jsd_ci_low, row.jsd_ci_high),
                (row.tvd_difference, row.tvd_ci_low, row.tvd_ci_high),
            )
        )
        return [
            f"Adversaries: the furthest in attention, λ = {row.kl_weight:g} ({row.start}), are at a mean JSD of "
            f"{row.jsd_mean:.3f} nats from the base, {beyond} beyond other seeds, and at a mean TVD of "
            f"{row.tvd_mean:.3f}, {apart} to other seeds{f' ({row.warning})' if row.warning else ''}."
        ]


def _interval(name: str, difference: Difference) -> dict[str, float]:
    columns = (f"{name}_difference", f"{name}_ci_low", f"{name}_ci_high")
    return dict(zip(columns, difference, strict=True))
