"""Intervals over test instances and models together: an interval over instances alone is pseudo-replication."""

import numpy as np


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


def f1_difference(
    labels: np.ndarray,
    predicted_a: np.ndarray,
    predicted_b: np.ndarray,
    positive: int | None,
    seed: int,
    resamples: int = 2000,
) -> tuple[float, float, float]:
    """Mean F1 of group A minus that of group B, with its 95 % percentile interval.

    Paired in the test instances: every resample draws instances once for both groups, and models within each group.

    Args:
        labels: (N,). predicted_a, predicted_b: (S_a, N) and (S_b, N), the labels each model of a group predicts.

    Returns:
        difference, low, high.
    """
    rng = np.random.default_rng(seed)
    count = len(labels)
    weights = rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(float)

    def resampled(predicted):
        models = rng.integers(len(predicted), size=(resamples, len(predicted)))
        return np.take_along_axis(f1_scores(labels, predicted, weights, positive), models, axis=1).mean(1)

    ones = np.ones((1, count))
    difference = (
        f1_scores(labels, predicted_a, ones, positive).mean() - f1_scores(labels, predicted_b, ones, positive).mean()
    )
    low, high = np.quantile(resampled(predicted_a) - resampled(predicted_b), [0.025, 0.975])
    return float(difference), float(low), float(high)
