"""Cases whose result is known by hand, in the form that `evaluate` gives to those of a Space."""

from math import log

test_cases = [
    {"predictions": [[0.5, 0.5]], "references": [[0.5, 0.5]], "result": {"jsd": 0.0}},
    {"predictions": [[1.0, 0.0, 0.0]], "references": [[0.0, 0.0, 1.0]], "result": {"jsd": log(2)}},
    # Rows of different lengths; the second is 3/2 ln 2 - 3/4 ln 3.
    {
        "predictions": [[1.0, 0.0], [0.0, 1.0, 0.0]],
        "references": [[1.0, 0.0], [0.0, 0.5, 0.5]],
        "result": {"jsd": (1.5 * log(2) - 0.75 * log(3)) / 2},
    },
]
