"""Total variation distance as an `evaluate` metric."""

import datasets
import evaluate
import numpy as np

logger = evaluate.logging.get_logger(__name__)

_DESCRIPTION = """\
Total variation distance between distributions, row by row: TVD(p, q) = 1/2 sum |p - q|, between 0 (equal) and 1
(disjoint). Jain & Wallace (2019) and Wiegreffe & Pinter (2019) compare the outputs of two classifiers with it. For two
classes it is the difference of the positive class's probabilities; the code published with the latter paper uses half
of that.
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions: list of distributions, each a list of probabilities; rows may differ in length. A row must sum to 1
        within 1e-4, one in half precision within what that rounds to (1e-3 for float16, 8e-3 for bfloat16), and is
        then divided by its sum, so that rounding does not push a result out of its bounds. A pair of rows that are
        both empty, or zero throughout, as the attention to a text without tokens is, has the value 0; it is warned of.
    references: the distributions to compare with, row for row of the same lengths.
    per_instance: also return the value of every row. Defaults to False.

Returns:
    tvd: the mean over rows.
    tvd_per_instance: with `per_instance=True`, the list of the rows' values.

Example:
    >>> from hf_attn_faith import metrics
    >>> tvd = metrics.load("tvd")
    >>> probabilities, others = [[0.75, 0.25], [0.5, 0.5]], [[0.25, 0.75], [0.5, 0.5]]
    >>> tvd.compute(predictions=probabilities, references=others, per_instance=True)
    {'tvd': 0.25, 'tvd_per_instance': [0.5, 0.0]}
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
class Tvd(evaluate.Metric):
    def _info(self):
        distributions = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": distributions, "references": distributions}),
            reference_urls=["https://aclanthology.org/D19-1002", "https://aclanthology.org/N19-1357"],
        )

    def _compute(self, predictions, references, per_instance=False):
        values = np.array([np.abs(p - q).sum() / 2 for p, q in _pairs(predictions, references)])
        result = {"tvd": float(values.mean())}
        return result | {"tvd_per_instance": values.tolist()} if per_instance else result


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
