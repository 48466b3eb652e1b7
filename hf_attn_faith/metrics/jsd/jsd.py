"""Jensen-Shannon divergence as an `evaluate` metric."""

import datasets
import evaluate
import numpy as np
from scipy.special import rel_entr

logger = evaluate.logging.get_logger(__name__)

_DESCRIPTION = """\
Jensen-Shannon divergence between distributions, row by row: JSD(p, q) = 1/2 KL(p || m) + 1/2 KL(q || m) with
m = (p + q) / 2. It is 0 for equal distributions and ln 2 = 0.693 nats (1 bit) for disjoint ones; it is the divergence,
not its square root, the Jensen-Shannon distance. Jain & Wallace (2019) and Wiegreffe & Pinter (2019) compare the
attention of two models over the tokens of a text with it.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of distributions, each a list of probabilities; rows may differ in length. A row must sum to 1
        within 1e-4, one in half precision within what that rounds to (1e-3 for float16, 8e-3 for bfloat16), and is
        then divided by its sum, so that rounding does not push a result out of its bounds. A pair of rows that are
        both empty, or zero throughout, as the attention to a text without tokens is, has the value 0; it is warned of.
    references: the distributions to compare with, row for row of the same lengths.
    base: of the logarithm. Defaults to e, for nats; 2 gives bits.
    per_instance: also return the value of every row. Defaults to False.

Returns:
    jsd: the mean over rows.
    jsd_per_instance: with `per_instance=True`, the list of the rows' values.

Example:
    >>> from hf_attn_faith import metrics
    >>> jsd = metrics.load("jsd")
    >>> attention, other = [[0.5, 0.5], [0.0, 0.0, 1.0]], [[0.5, 0.5], [1.0, 0.0, 0.0]]
    >>> jsd.compute(predictions=attention, references=other, base=2, per_instance=True)
    {'jsd': 0.5, 'jsd_per_instance': [0.0, 1.0]}
"""

_CITATION = """\
@inproceedings{wiegreffe-pinter-2019-attention,
    title = "Attention is not not Explanation",
    author = "Wiegreffe, Sarah and Pinter, Yuval",
    booktitle = "Proceedings of EMNLP-IJCNLP 2019",
    pages = "11--20",
    year = "2019",
    doi = "10.18653/v1/D19-1002",
}
@inproceedings{jain-wallace-2019-attention,
    title = "Attention is not Explanation",
    author = "Jain, Sarthak and Wallace, Byron C.",
    booktitle = "Proceedings of NAACL-HLT 2019",
    pages = "3543--3556",
    year = "2019",
    doi = "10.18653/v1/N19-1357",
}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Jsd(evaluate.Metric):
    def _info(self):
        distributions = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": distributions, "references": distributions}),
            reference_urls=["https://aclanthology.org/D19-1002", "https://aclanthology.org/N19-1357"],
        )

    def _compute(self, predictions, references, base=np.e, per_instance=False):
        if not base > 1:
            raise ValueError(f"base must be above 1, not {base}")
        values = np.array([_jsd(p, q) for p, q in _pairs(predictions, references)]) / np.log(base)
        result = {"jsd": float(values.mean())}
        return result | {"jsd_per_instance": values.tolist()} if per_instance else result


def _jsd(p, q):
    m = (p + q) / 2
    # Never negative in exact arithmetic; rounding can leave -1e-17.
    return max(0.0, (rel_entr(p, m) + rel_entr(q, m)).sum() / 2)


def _pairs(predictions, references):
    """The rows, two by two, as checked float64 distributions."""
    if len(predictions) == 0:
        raise ValueError("predictions and references are empty: there is nothing to compare")
    empty = 0
    for row, (p, q) in enumerate(zip(predictions, references, strict=True)):
        p, q = p or [], q or []  # a missing row comes back from Arrow as None
        if len(p) != len(q):
            raise ValueError(f"row {row}: predictions has {len(p)} values but references has {len(q)}")
        if all(value == 0 for value in (*p, *q)):  # attention of a text without tokens, or of special ones alone
            empty += 1
            yield np.zeros(1), np.zeros(1)
        else:
            yield _distribution("predictions", row, p), _distribution("references", row, q)
    if empty:
        logger.warning("%d of %d pairs of rows are empty: they count as equal, with the value 0.", empty, row + 1)


def _distribution(name, row, values):
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} row {row} holds a value that is not finite")
    if values.min() < 0:
        raise ValueError(f"{name} row {row} holds a negative value, {values.min():.6g}")
    tolerance = _tolerance(values)
    if abs(values.sum() - 1) > tolerance:
        raise ValueError(f"{name} row {row} sums to {values.sum():.6g}, not to 1 (tolerance {tolerance:.0e})")
    return values / values.sum()


def _tolerance(values):
    """How far from 1 rounding may put the sum. All come as float64; how many bits they need tells what they were."""
    significands, _ = np.frexp(values)
    for bits in (8, 11):  # of bfloat16, of float16
        if not (significands * 2**bits % 1).any():
            return 2.0 ** (1 - bits)
    return 1e-4
