"""Intervals for the difference between two groups of models, over test instances and models together.

An interval over instances alone would be pseudo-replication: it says nothing about another set of seeds. So every
resample draws the instances once, for both groups, and the models within each group. The percentile interval of so few
models is too narrow (it divides by n where the variance needs n − 1, and takes normal quantiles, not Student's): so
it is widened by exactly that, with Satterthwaite's degrees of freedom over the three sources of variance; Hesterberg
(2015), "What teachers should know about the bootstrap", calls it the expanded percentile interval.
"""

from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

RESAMPLES = 2000


class Difference(NamedTuple):
    """Mean of group A minus mean of group B, and the bounds of its 95 % interval."""

    estimate: float
    low: float
    high: float


def mean_difference(values_a: np.ndarray, values_b: np.ndarray, seed: int, resamples: int = RESAMPLES) -> Difference:
    """Difference of the means of per-instance values, such as JSD to the base.

    Args:
        values_a, values_b: (A, N) and (B, N), a row a model over the same N instances.
    """
    weights = _instance_weights(values_a.shape[1], seed, resamples) / values_a.shape[1]
    return _difference(values_a.mean(1), values_b.mean(1), weights @ values_a.T, weights @ values_b.T, seed)


def f1_difference(
    labels: np.ndarray,
    predicted_a: np.ndarray,
    predicted_b: np.ndarray,
    positive: int | None,
    seed: int,
    resamples: int = RESAMPLES,
) -> Difference:
    """Difference of the mean F1 of two groups of classifiers.

    Args:
        labels: (N,). predicted_a, predicted_b: (A, N) and (B, N), the labels each model predicts.
        positive: the positive label, or None for macro F1.
    """
    ones, weights = np.ones((1, len(labels))), _instance_weights(len(labels), seed, resamples)
    return _difference(
        *(f1_scores(labels, predicted, ones, positive)[0] for predicted in (predicted_a, predicted_b)),
        *(f1_scores(labels, predicted, weights, positive) for predicted in (predicted_a, predicted_b)),
        seed,
    )


def f1_scores(labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray, positive: int | None) -> np.ndarray:
    """F1 of S models under R weightings of the N test instances, (R, S).

    Args:
        labels: (N,). predicted: (S, N). weights: (R, N), how often a resample holds each instance.
        positive: the positive label, or None for macro F1 over the labels. A class nobody has and nobody predicts
            counts as 0, as in scikit-learn.
    """
    classes = np.unique(np.concatenate([labels, predicted.ravel()])) if positive is None else [positive]
    scores = []
    for label in classes:
        true, guess = (labels == label).astype(float), (predicted == label).astype(float)
        hits = weights @ (guess * true).T
        total = (weights @ true)[:, None] + weights @ guess.T
        scores.append(np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0))
    return np.mean(scores, axis=0)


def superiority(values_a: np.ndarray, values_b: np.ndarray) -> float:
    """Share of (instance, model of A, model of B) in which A's value is the larger, ties counted half; within the
    instance. (A, N) and (B, N)."""
    difference = values_a[:, None] - values_b[None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def _instance_weights(count: int, seed: int, resamples: int) -> np.ndarray:
    """(R, N): how often each resample of the instances holds each of them."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples).astype(float)


def _difference(full_a, full_b, resampled_a, resampled_b, seed) -> Difference:
    """From each model's statistic on all instances, (A,) and (B,), and on each resample of them, (R, A) and (R, B)."""
    rng = np.random.default_rng([seed, 1])

    def redrawn(resampled):
        models = rng.integers(resampled.shape[1], size=resampled.shape)
        return np.take_along_axis(resampled, models, axis=1).mean(1)

    estimate = full_a.mean() - full_b.mean()
    bounds = np.quantile(redrawn(resampled_a) - redrawn(resampled_b), [0.025, 0.975])

    # Variance of the estimate by source, with its degrees of freedom. One model alone has no spread to estimate.
    sources = [((resampled_a.mean(1) - resampled_b.mean(1)).var(), np.inf)]
    sources += [(full.var(ddof=1) / len(full), len(full) - 1) for full in (full_a, full_b) if len(full) > 1]
    variance = sum(v for v, _ in sources)
    seen = sum(v * (1 if np.isinf(df) else df / (df + 1)) for v, df in sources)
    if seen == 0:
        return Difference(float(estimate), float(estimate), float(estimate))
    uncertainty = sum(v**2 / df for v, df in sources)
    quantile = t.ppf(0.975, variance**2 / uncertainty) if uncertainty > 0 else norm.ppf(0.975)
    widening = np.sqrt(variance / seen) * quantile / norm.ppf(0.975)
    low, high = estimate + widening * (bounds - estimate)
    return Difference(float(estimate), float(low), float(high))
