"""JSD and TVD as `evaluate` metrics, for users and model cards; the analyses call `hf_attn_faith.divergences`.

Each folder here is a complete `evaluate` module, and can be pushed as a Space.

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
    folders = {script.stem: str(script.parent) for script in Path(__file__).parent.glob("*/*.py")}
    if name not in folders:
        raise InputError(f"no metric is called {name!r}; there are: {', '.join(sorted(folders))}")
    import evaluate  # here, since it takes seconds

    return evaluate.load(folders[name], **kwargs)
