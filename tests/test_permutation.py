import datasets
import numpy as np
import pandas as pd
import pytest

from hf_attn_faith.analyses import permutation as module
from hf_attn_faith.analyses.permutation import permutation, summarise
from hf_attn_faith.errors import InputError


def frozen(attention, scores):
    """A prediction set of two labels: token t alone has the logits 0 and `scores[t]`."""
    probabilities = []
    for weights, values in zip(attention, scores, strict=True):
        p = 1 / (1 + np.exp(-sum(w * s for w, s in zip(weights, values, strict=True) if not np.isnan(s))))
        probabilities.append([1 - p, p])
    return datasets.Dataset.from_dict(
        {
            "row": list(range(len(attention))),
            "probabilities": probabilities,
            "token_attention": attention,
            "token_logits": [[[0.0 * s, s] for s in values] for values in scores],
        }
    )


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_two_tokens_are_shuffled_or_not():
    # Half of the permutations change nothing, the others swap the weights.
    result = permutation(frozen([[0.9, 0.1]], [[1.0, -1.0]]), 4000)
    swapped = sigmoid(0.8) - sigmoid(-0.8)
    assert result.tvd_mean[0] == pytest.approx(swapped / 2, abs=0.02 * swapped)
    assert result.tvd_median[0] in (pytest.approx(0, abs=1e-9), pytest.approx(swapped, abs=1e-6))


def test_mean_over_all_permutations_of_three_tokens():
    weights, scores = [0.7, 0.2, 0.1], [2.0, -1.0, 0.5]
    own = sigmoid(np.dot(weights, scores))
    orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    expected = np.mean([abs(sigmoid(np.dot(np.array(weights)[order], scores)) - own) for order in orders])
    result = permutation(frozen([weights], [scores]), 20_000)
    assert result.tvd_mean[0] == pytest.approx(expected, rel=0.02)


def test_nothing_changes_where_nothing_can():
    # Equal weights; equal scores; one token; none.
    sets = frozen([[0.25] * 4, [0.7, 0.3], [1.0], []], [[1.0, 2.0, 3.0, 4.0], [1.5, 1.5], [3.0], []])
    result = permutation(sets, 20)
    np.testing.assert_allclose(result[["tvd_median", "tvd_mean"]], 0, atol=1e-12)
    assert result.row.tolist() == [0, 1, 2, 3]
    assert summarise(result).n.tolist()[-1] == 3  # the empty text has no maximum attention


def test_tokens_without_attention_stay_without():
    # The token in the middle may not get attention: its weight is never moved there.
    result = permutation(frozen([[0.5, 0.0, 0.5]], [[1.0, np.nan, 1.0]]), 50)
    np.testing.assert_allclose(result[["tvd_median", "tvd_mean"]], 0, atol=1e-12)


def test_rows_keep_their_order_in_chunks(monkeypatch):
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 9, 60)
    sets = frozen(
        [rng.dirichlet(np.ones(n)).tolist() if n else [] for n in lengths],
        [rng.normal(size=n).tolist() for n in lengths],
    )
    whole = permutation(sets, 2000)
    monkeypatch.setattr(module, "CHUNK", 30_000)
    parts = permutation(sets, 2000)
    assert parts.row.tolist() == list(range(60))
    np.testing.assert_allclose(whole.tvd_mean, parts.tvd_mean, atol=0.02)
    assert (parts.tvd_median[lengths < 2] == 0).all() and (parts.tvd_mean[lengths > 2] > 0).all()


def test_token_logits_are_needed():
    sets = frozen([[0.6, 0.4]], [[1.0, -2.0]]).remove_columns("token_logits")
    with pytest.raises(InputError, match=r"no column `token_logits`: make it with predict\(..., token_logits=True\)"):
        permutation(sets)


def test_the_seed_decides():
    sets = frozen([[0.6, 0.3, 0.1]], [[1.0, -2.0, 0.5]])
    pd.testing.assert_frame_equal(permutation(sets, 7, seed=1), permutation(sets, 7, seed=1))
    assert not permutation(sets, 7, seed=1).equals(permutation(sets, 7, seed=2))
