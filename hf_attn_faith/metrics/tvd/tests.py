"""Cases whose result is known by hand, in the form that `evaluate` gives to those of a Space."""

test_cases = [
    {"predictions": [[0.5, 0.5]], "references": [[0.5, 0.5]], "result": {"tvd": 0.0}},
    {"predictions": [[1.0, 0.0, 0.0]], "references": [[0.0, 0.0, 1.0]], "result": {"tvd": 1.0}},
    # Rows of different lengths.
    {
        "predictions": [[0.75, 0.25], [0.0, 1.0, 0.0]],
        "references": [[0.25, 0.75], [0.0, 0.5, 0.5]],
        "result": {"tvd": 0.5},
    },
]
