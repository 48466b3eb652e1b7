"""Is an adversary further from the base than another seed is, in attention and in output?"""

import numpy as np
import pandas as pd

from ..specs import by_group
from .base import Analysis, Evidence, Result, Results
from .bootstrap import mean_difference, superiority
from .comparison import compare


class Calibration(Analysis):
    name = "calibration"
    title = "Adversaries against seeds"
    caption = (
        "How much further adversaries are from the base than other seeds are. Intervals resample test texts and "
        "models together."
    )
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
        sets = evidence.of("seed", "adversary")
        pairs = {spec: compare(evidence.base, prediction_set) for spec, prediction_set in sets.items()}
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
            rows.append(
                {"kl_weight": adversaries[0].kl_weight, "start": adversaries[0].start}
                | dict(zip(("jsd_difference", "jsd_ci_low", "jsd_ci_high"), mean_difference(*jsd, seed), strict=True))
                | {"superiority": superiority(*jsd)}
                | dict(zip(("tvd_difference", "tvd_ci_low", "tvd_ci_high"), mean_difference(*tvd, seed), strict=True))
                | {"adversary_seeds": len(adversaries), "seeds": len(seeds) + 1}
                | {"warning": f"poorly estimated from {' and '.join(few)}" if few else ""}
            )
        return Result(pd.DataFrame(rows))

    def sentences(self, results: Results) -> list[str]:
        table = results["adversaries"].table.merge(results[self.name].table, on=["kl_weight", "start"])
        # The largest shift of attention whose outputs are not shown to be further from the base's than other seeds'
        # are.
        close = table[table.tvd_ci_low <= 0]
        row = (close if len(close) else table).sort_values("jsd_mean").iloc[-1]
        found = (
            f"λ = {row.kl_weight:g} ({row.start}): mean JSD {row.jsd_mean:.3f} nats, {row.jsd_difference:+z.3f} beyond "
            f"other seeds [{row.jsd_ci_low:+z.3f}, {row.jsd_ci_high:+z.3f}], at mean TVD {row.tvd_mean:.3f}, "
            f"{row.tvd_difference:+z.3f} to other seeds [{row.tvd_ci_low:+z.3f}, {row.tvd_ci_high:+z.3f}]"
            + (f" ({row.warning})" if row.warning else "")
        )
        if not len(close):
            return [
                "Adversaries: all are further from the base in output than other seeds; furthest in attention: "
                f"{found}."
            ]
        if row.jsd_ci_low <= 0:
            return [
                "Adversaries: of those whose outputs are not shown to be further from the base's than other seeds' "
                f"are, none is shown to move attention beyond what another seed does; furthest: {found}."
            ]
        return [
            "Adversaries: other attention can go with outputs that are not shown to be further from the base's than "
            f"other seeds' are, {found}; an explanation of this model by its attention is then not the only one, which "
            "does not make it a wrong one."
        ]
