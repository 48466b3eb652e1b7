"""Intervals for the difference between two groups of models, over test instances and models together.

An interval over instances alone would be pseudo-replication: it says nothing about another set of seeds. So every
resample draws the instances once, for both groups, and the models within each group. The percentile interval of so few
models is too narrow (it divides by n where the variance needs n − 1, and takes normal quantiles, not Student's): so
it is widened by exactly that, with Satterthwaite's degrees of freedom over the three sources of variance; Hesterberg
(2015), "What teachers should know about the bootstrap", calls it the expanded percentile interval.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.stats import norm, t

RESAMPLES = 2000


class Difference(NamedTuple):
    """Mean of group A minus mean of group B, and the bounds of its interval: NaN where a group has one model alone,
    which shows nothing of how models of other seeds spread."""

    estimate: float
    low: float
    high: float


def mean_difference(
    values_a: np.ndarray,
    values_b: np.ndarray,
    seed: int,
    limit: float,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    fixed_b: bool = False,
) -> Difference:
    """Difference of the means of per-instance values, such as JSD to the base.

    Args:
        values_a, values_b: (A, N) and (B, N), a row a model over the same N instances.
        limit: no difference is larger: 1 for TVD, ln 2 for JSD. The interval does not leave that range.
        level: of the interval, two-sided.
        fixed_b: B is no sample of models but the one thing to compare with, such as a constant answer.
    """
    count = values_a.shape[1]
    resampled = [
        (weights @ values_a.T / count, weights @ values_b.T / count)
        for weights in _instance_weights(count, seed, resamples)
    ]
    means = map(np.concatenate, zip(*resampled, strict=True))
    return _difference(values_a.mean(1), values_b.mean(1), *means, seed, limit, level, fixed_b)


def f1_difference(
    labels: np.ndarray,
    predicted_a: np.ndarray,
    predicted_b: np.ndarray,
    positive: int | None,
    seed: int,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    fixed_b: bool = False,
) -> Difference:
    """Difference of the mean F1 of two groups of classifiers.

    Args:
        labels: (N,). predicted_a, predicted_b: (A, N) and (B, N), the labels each model predicts.
        positive: the positive label, or None for macro F1.
        level, fixed_b: as in `mean_difference`.
    """
    groups, ones = (predicted_a, predicted_b), np.ones((1, len(labels)))
    resampled = [
        [f1_scores(labels, predicted, weights, positive) for predicted in groups]
        for weights in _instance_weights(len(labels), seed, resamples)
    ]
    full = (f1_scores(labels, predicted, ones, positive)[0] for predicted in groups)
    scores = map(np.concatenate, zip(*resampled, strict=True))
    return _difference(*full, *scores, seed, 1.0, level, fixed_b)


def f1_scores(labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray, positive: int | None) -> np.ndarray:
    """F1 of S models under R weightings of the N test instances, (R, S).

    Args:
        labels: (N,). predicted: (S, N). weights: (R, N), how often a resample holds each instance.
        positive: the positive label, or None for macro F1 over the labels that occur or that the model predicts, as
            in scikit-learn. A class that a resample has lost counts as 0.
    """
    classes = np.unique(np.concatenate([labels, predicted.ravel()])) if positive is None else [positive]
    scores, counted = [], []
    for label in classes:
        true, guess = (labels == label).astype(float), (predicted == label).astype(float)
        hits = weights @ (guess * true).T
        total = (weights @ true)[:, None] + weights @ guess.T
        scores.append(np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0))
        counted.append(true.any() | guess.any(1) if positive is None else np.ones(len(predicted), bool))
    return np.sum(scores, axis=0) / np.sum(counted, axis=0)


def superiority(values_a: np.ndarray, values_b: np.ndarray) -> float:
    """Share of (instance, model of A, model of B) in which A's value is the larger, ties counted half; within the
    instance. (A, N) and (B, N)."""
    difference = values_a[:, None] - values_b[None]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def _instance_weights(count: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each resample of the instances holds each of them; parts, of bounded size, of (R, N)."""
    rng = np.random.default_rng(seed)
    step = max(1, 2_000_000 // count)
    for first in range(0, resamples, step):
        rows = min(step, resamples - first)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(float)


def _difference(full_a, full_b, resampled_a, resampled_b, seed, limit, level, fixed_b) -> Difference:
    """From each model's statistic on all instances, (A,) and (B,), and on each resample of them, (R, A) and (R, B)."""
    rng = np.random.default_rng([seed, 1])

    def redrawn(resampled):
        models = rng.integers(resampled.shape[1], size=resampled.shape)
        return np.take_along_axis(resampled, models, axis=1).mean(1)

    estimate = full_a.mean() - full_b.mean()
    if len(full_a) == 1 or (len(full_b) == 1 and not fixed_b):
        return Difference(float(estimate), float("nan"), float("nan"))
    tail = (1 - level) / 2
    bounds = np.quantile(redrawn(resampled_a) - redrawn(resampled_b), [tail, 1 - tail])

    # Variance of the estimate by source, with its degrees of freedom.
    sources = [((resampled_a.mean(1) - resampled_b.mean(1)).var(), np.inf)]
    sources += [(full.var(ddof=1) / len(full), len(full) - 1) for full in (full_a, full_b) if len(full) > 1]
    variance = sum(v for v, _ in sources)
    seen = sum(v * (1 if np.isinf(df) else df / (df + 1)) for v, df in sources)
    if seen == 0:
        return Difference(float(estimate), float(estimate), float(estimate))
    uncertainty = sum(v**2 / df for v, df in sources)
    quantile = t.ppf(1 - tail, variance**2 / uncertainty) if uncertainty > 0 else norm.ppf(1 - tail)
    widening = np.sqrt(variance / seen) * quantile / norm.ppf(1 - tail)
    low, high = np.clip(estimate + widening * (bounds - estimate), -limit, limit)
    return Difference(float(estimate), float(low), float(high))
