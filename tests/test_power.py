import math

import pytest

from hf_attn_faith.analyses.power import detectable, told
from hf_attn_faith.analyses.verdicts import Margins


def test_more_of_anything_shows_smaller_differences():
    usual = detectable(5, 3, 6, 1000)
    for numbers in ((8, 3, 6, 1000), (5, 5, 6, 1000), (5, 3, 1, 1000), (5, 3, 6, 9000)):
        more = detectable(*numbers)
        assert all(more[name] <= usual[name] for name in usual) and more != usual


def test_one_model_alone_shows_nothing():
    assert detectable(1, 3, 1, 1000)["f1"] == detectable(5, 1, 1, 1000)["jsd"] == math.inf
    assert "one model alone" in told(1, 3, 1, 1000, Margins())


def test_a_hand_computed_difference():
    """So many texts that only the models' spread is left, so many models that Student's t is the normal's."""
    found = detectable(1000, 3, 1, 70_000_000)["f1"]
    assert found == pytest.approx(0.015 * math.sqrt(2 / 1000) * (1.9611 + 0.8419), rel=1e-3)
    assert "truly differ from other seeds' by +0.0" in told(20, 20, 1, 50_000, Margins())
