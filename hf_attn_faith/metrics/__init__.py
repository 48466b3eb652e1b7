"""JSD and TVD as `evaluate` metrics, for users and model cards; the analyses call `hf_attn_faith.divergences`.

Each folder here is a complete `evaluate` module and a Space, which `hf-attn-faith publish-metrics` pushes.

Example:
    >>> from hf_attn_faith import metrics
    >>> metrics.load("tvd").compute(predictions=[[0.9, 0.1]], references=[[0.4, 0.6]])
    {'tvd': 0.5}
"""

from pathlib import Path

from ..errors import InputError


def load(name: str, **kwargs):
    """Load the metric `name`, "jsd" or "tvd", from the installed package, without the network.

    Args:
        kwargs: options of `evaluate.load`, such as `keep_in_memory` or `experiment_id`.

    Returns:
        An `evaluate.Metric`.
    """
    folders = metric_folders()
    if name not in folders:
        raise InputError(f"no metric is called {name!r}; there are: {', '.join(sorted(folders))}")
    import evaluate  # here, since it takes seconds

    return evaluate.load(str(folders[name]), **kwargs)


def metric_folders() -> dict[str, Path]:
    """The folder of each metric, by its name."""
    return {card.parent.name: card.parent for card in sorted(Path(__file__).parent.glob("*/README.md"))}
