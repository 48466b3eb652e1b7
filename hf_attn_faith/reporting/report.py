"""What a run says, in one cautious sentence a test; its tables and figures rendered again from the files."""

from pathlib import Path

import pandas as pd

from ..errors import InputError
from .figures import render_figures
from .tables import read_summary, render_tables


def render_report(run_dir: Path) -> str:
    """Renders tables and figures of what the run has so far, and returns the summary as text.

    Raises:
        InputError: no analysis is finished yet.
    """
    if not any(run_dir.glob("analyses/*/summary.json")):
        raise InputError(
            f"{run_dir} holds no finished analysis of an audit: give its --output_dir, or let it get further."
        )
    render_tables(run_dir)
    render_figures(run_dir)
    return "\n".join(f"- {sentence}" for sentence in sentences(run_dir))


def sentences(run_dir: Path) -> list[str]:
    """One sentence a test, with the number and its interval. No test proves that attention explains: each can only
    rule a claim out."""
    written = []
    uniform = read_summary(run_dir, "uniform_baseline")
    if uniform is not None:
        written.append(_uniform(uniform.iloc[0]))
    seeds = read_summary(run_dir, "seed_variance")
    if seeds is not None and len(seeds):
        written.append(_seeds(seeds))
    calibration = read_summary(run_dir, "calibration")
    if calibration is not None:
        adversaries = read_summary(run_dir, "adversaries")
        written.append(_adversaries(adversaries.merge(calibration, on=["kl_weight", "start"])))
    differences = read_summary(run_dir, "guided_mlp_differences")
    if differences is not None:
        written += _guides(differences)
    attack = read_summary(run_dir, "instance_attack")
    if attack is not None:
        written.append(_attack(attack))
    transplant = read_summary(run_dir, "transplant")
    if transplant is not None:
        written.append(_transplant(transplant))
    permutation = read_summary(run_dir, "permutation")
    if permutation is not None and len(permutation):
        written.append(_permutation(permutation))
    importance = read_summary(run_dir, "importance")
    if importance is not None:
        written.append(_importance(importance))
    return written


def _uniform(row) -> str:
    interval = f"{row.f1_difference:+z.3f} F1, 95 % interval [{row.f1_ci_low:+z.3f}, {row.f1_ci_high:+z.3f}]"
    interval += f", {row.warning}" if row.warning else ""
    if row.f1_ci_low > 0:
        return (
            f"Uniform baseline: trained attention does better than uniform weights ({interval}): the task can test it."
        )
    return (
        f"Uniform baseline: no gain from trained attention is shown ({interval}); where attention is not needed, the "
        "task is a weak testbed, and every sentence below carries that caveat."
    )


def _seeds(table) -> str:
    with_base = table[(table.seed_a == "base") | (table.seed_b == "base")].jsd_mean.mean()
    models = sorted(set(table.seed_a) | set(table.seed_b))
    choices = [table[(table.seed_a == m) | (table.seed_b == m)].jsd_mean.mean() for m in models]
    return (
        f"Seed variance: between models that differ in their seed alone, attention moves by a mean JSD of "
        f"{table.jsd_mean.mean():.3f} nats (base to others {with_base:.3f}; {min(choices):.3f} to {max(choices):.3f} "
        f"whichever of the {len(models)} is taken as base): the floor against which adversaries are read."
    )


def _adversaries(table) -> str:
    # The largest shift of attention whose outputs are not shown to be further from the base's than other seeds' are.
    close = table[table.tvd_ci_low <= 0]
    row = (close if len(close) else table).sort_values("jsd_mean").iloc[-1]
    found = (
        f"λ = {row.kl_weight:g} ({row.start}): mean JSD {row.jsd_mean:.3f} nats, {row.jsd_difference:+z.3f} beyond "
        f"other seeds [{row.jsd_ci_low:+z.3f}, {row.jsd_ci_high:+z.3f}], at mean TVD {row.tvd_mean:.3f}, "
        f"{row.tvd_difference:+z.3f} to other seeds [{row.tvd_ci_low:+z.3f}, {row.tvd_ci_high:+z.3f}]"
        + (f" ({row.warning})" if row.warning else "")
    )
    if not len(close):
        return f"Adversaries: all are further from the base in output than other seeds; furthest in attention: {found}."
    if row.jsd_ci_low <= 0:
        return (
            "Adversaries: of those whose outputs are not shown to be further from the base's than other seeds' are, "
            f"none is shown to move attention beyond what another seed does; furthest: {found}."
        )
    return (
        "Adversaries: other attention can go with outputs that are not shown to be further from the base's than other "
        f"seeds' are, {found}; an explanation of this model by its attention is then not the only one, which does not "
        "make it a wrong one."
    )


def _guides(table) -> list[str]:
    pairs = {(row.guide_a, row.guide_b): row for row in table.itertuples()}

    def said(a, b) -> str:
        sign, row = (1, pairs[a, b]) if (a, b) in pairs else (-1, pairs[b, a])
        low, high = sorted((sign * row.f1_ci_low, sign * row.f1_ci_high))
        warning = f", {row.warning}" if row.warning else ""
        return f"{sign * row.f1_difference:+z.3f} F1 [{low:+z.3f}, {high:+z.3f}{warning}]"

    guides = list(dict.fromkeys([*table.guide_a, *table.guide_b]))
    written = [
        "Guided MLP: to a model that sees each token alone, the base's weights are worth "
        f"{said('base', 'uniform')} over uniform ones, {said('base', 'trained')} over its own, and "
        f"{said('base', 'permuted')} over the same weights shuffled; weights may carry label information from the "
        "model that made them."
    ]
    adversaries = [guide for guide in guides if guide.startswith("adversary")]
    if adversaries:
        worth = "; ".join(f"{guide.removeprefix('adversary-')} {said(guide, 'base')}" for guide in adversaries)
        written.append(f"Guided MLP under the adversaries' weights, against the base's: {worth}.")
    return written


def _attack(table) -> str:
    row = table.iloc[(table.epsilon - 0.05).abs().argmin()]
    found = "" if row.method == "exact" else " at least, a search found,"
    return (
        f"Instance attack: with the base frozen and its outputs held within a TVD of {row.epsilon:g},{found} "
        f"{row['share_above_0.4']:.0%} of the texts admit another attention at a JSD above 0.4 nats (mean "
        f"{row.jsd_mean:.3f}); on long texts the largest JSD nears ln 2 whatever the model, and vectors made text by "
        "text are no model that could have been trained."
    )


def _transplant(table) -> str:
    row = table.iloc[(table.tvd_transplanted - table.tvd_own).argmax()]
    share = (
        f"; of the JSD that any attention could have there it realises {row.realised_mean:.0%} in the mean"
        if pd.notna(row.realised_mean)
        else ""
    )
    gap = (
        "the gap is what their other parameters compensate, and attacks on attention alone do not see it"
        if row.tvd_transplanted > row.tvd_own
        else "no more than their own, so nothing that their other parameters compensate is shown"
    )
    return (
        f"Transplant: the adversaries of λ = {row.kl_weight:g} ({row.start}) are at a mean TVD of {row.tvd_own:.3f} "
        f"from the base, their attention imposed on the frozen base at {row.tvd_transplanted:.3f}{share}: {gap}."
    )


def _permutation(table) -> str:
    *bins, whole = table[table.label == "all"].itertuples()
    worth = ", ".join(f"{row.tvd_median:.3f} at {row.max_attention_bin}" for row in bins)
    return (
        "Permutation: shuffling the attention of the frozen base moves its output by a median TVD of "
        f"{whole.tvd_median:.3f} (by maximum attention: {worth}); little change says that the output does not hang on "
        "which tokens are weighted, not that the weights are wrong."
    )


def _importance(table) -> str:
    whole = table[table.label == "all"].set_index("pair")
    taus = "; ".join(
        f"{pair.replace('_', '-').replace('~', ' with ')} {row.tau_mean:.2f} (sd {row.tau_std:.2f}, "
        f"{row.significant_share_bh:.0%} significant after correction)"
        for pair, row in whole.iterrows()
    )
    return (
        f"Importance: Kendall's τ in the mean, {taus}; where two fallible measures of importance disagree, neither is "
        "proved wrong."
    )
