import datasets
import numpy as np
import pandas as pd
import pytest

from hf_attn_faith.analyses.transplant import summarise, transplant
from hf_attn_faith.errors import InputError


def softmax(logits):
    exp = np.exp(logits - logits.max(-1, keepdims=True))
    return exp / exp.sum(-1, keepdims=True)


def frozen(attention, token_logits):
    """The base's prediction set; its probabilities follow from its attention."""
    pairs = zip(attention, token_logits, strict=True)
    probabilities = [softmax(np.array(a) @ np.array(z)).tolist() for a, z in pairs]
    return of(attention, probabilities).add_column("token_logits", [np.array(z).tolist() for z in token_logits])


def of(attention, probabilities):
    return datasets.Dataset.from_dict(
        {"row": list(range(len(attention))), "probabilities": probabilities, "token_attention": attention}
    )


def scores(*values):
    """Logits of two labels."""
    return [[0.0, value] for value in values]


def test_known_by_hand():
    base = frozen([[0.5, 0.5], [0.5, 0.5], [1.0]], [scores(2.0, -2.0), scores(1.0, 1.0), scores(3.0)])
    adversary = of([[1.0, 0.0], [0.0, 1.0], [1.0]], [[0.5, 0.5], [0.3, 0.7], [0.1, 0.9]])
    result = transplant(base, adversary)
    shift = 1 / (1 + np.exp(-2.0)) - 0.5
    one_hot = np.log(2) - 0.75 * np.log(3) + 0.5 * np.log(2)  # JSD of (1, 0) and (½, ½)
    np.testing.assert_allclose(result.tvd_transplanted, [shift, 0, 0], atol=1e-12)
    np.testing.assert_allclose(result.jsd, [one_hot, one_hot, 0], atol=1e-12)
    assert result.tvd_own[0] == pytest.approx(0) and result.tvd_own[1] == pytest.approx(1 / (1 + np.exp(-1)) - 0.7)
    # (1, 0) is as far as any attention can be, and what it costs is just allowed; where there is one token, nothing
    # can move, and there is no share.
    np.testing.assert_allclose(result.realised, [1, 1, np.nan], rtol=1e-9)
    assert summarise(result) == pytest.approx(
        {
            "tvd_own": result.tvd_own.mean(),
            "tvd_transplanted": shift / 3,
            "realised_mean": 1,
            "realised_median": 1,
            "undefined": 1,
        }
    )


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 20.0])
def test_the_realised_share_is_at_most_one(sharpness):
    """Attentions of all sorts: near the base's, one-hot, on two tokens with just the base's output."""
    rng = np.random.default_rng(int(10 * sharpness))
    attention, logits, imposed = [], [], []
    for number in range(400):
        length = rng.integers(1, 13)
        attention.append(rng.dirichlet(np.full(length, 10.0 ** rng.uniform(-1, 1))))
        s = sharpness * rng.normal(size=length)
        logits.append(scores(*s))
        match number % 4:
            case 0:
                other = rng.dirichlet(np.ones(length))
            case 1:
                other = np.eye(length)[rng.integers(length)]
            case 2:
                other = attention[-1] + 10.0 ** rng.uniform(-12, -2) * rng.dirichlet(np.ones(length))
            case 3:
                # The largest that costs nothing, or nearly.
                low, high, own = s.argmin(), s.argmax(), attention[-1] @ s
                weight = (own - s[low]) / (s[high] - s[low]) if s[high] > s[low] else 1.0
                other = weight * np.eye(length)[high] + (1 - weight) * np.eye(length)[low]
        imposed.append(other / other.sum())
    base = frozen([row.tolist() for row in attention], logits)
    result = transplant(base, of([row.tolist() for row in imposed], base["probabilities"][:]))
    assert result.realised.max() <= 1 + 1e-9
    assert result.realised.notna().sum() > 300 and result.realised[1::4].median() > 0.5


def test_more_than_two_labels_have_no_share():
    base = frozen([[0.5, 0.5]], [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    result = transplant(base, of([[1.0, 0.0]], base["probabilities"][:]))
    expected = np.abs(softmax(np.array([1.0, 0, 0])) - softmax(np.array([0.5, 0.5, 0]))).sum() / 2
    assert result.tvd_transplanted[0] == pytest.approx(expected) and result.realised.isna().all()
    assert summarise(result)["undefined"] == 1 and pd.isna(summarise(result)["realised_mean"])


def test_other_texts_are_refused():
    base = frozen([[0.5, 0.5]], [scores(1.0, 2.0)])
    with pytest.raises(InputError, match="compare models with the same tokenizer"):
        transplant(base, of([[0.5, 0.25, 0.25]], [[0.5, 0.5]]))
