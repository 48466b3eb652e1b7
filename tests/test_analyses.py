import datasets
import numpy as np
import pandas as pd
import pytest
from helpers.prediction_sets import prediction_set
from scipy.spatial.distance import jensenshannon
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from hf_attn_faith.analyses.bootstrap import f1_difference, f1_scores, mean_difference, superiority
from hf_attn_faith.analyses.comparison import binning, by_bin, compare
from hf_attn_faith.analyses.scores import positive_index, scores
from hf_attn_faith.errors import InputError
from hf_attn_faith.prediction import padded_attention

# Two prediction sets side by side


@pytest.mark.parametrize("classes", [2, 5])
def test_compare_equals_scipy(classes):
    a, b = prediction_set(classes=classes, seed=1), prediction_set(classes=classes, seed=2)
    table = compare(a, b)
    assert list(table.columns[:3]) == ["row", "tvd", "jsd"] and list(table.row) == list(range(40))
    for row in range(40):
        p, q = (np.array(s["probabilities"][row], np.float64) for s in (a, b))
        assert table.tvd[row] == pytest.approx(np.abs(p - q).sum() / 2, abs=1e-12)
        p, q = (np.array(s["token_attention"][row], np.float64) for s in (a, b))
        expected = jensenshannon(p, q) ** 2 if len(p) else 0
        assert table.jsd[row] == pytest.approx(expected, abs=1e-9)
    pd.testing.assert_frame_equal(table.iloc[:, :3], compare(b, a).iloc[:, :3], atol=1e-15)
    assert (table.jsd[table.row % 9 < 2] == 0).all()


def test_compare_a_set_with_itself_and_with_its_opposite():
    a = prediction_set(2, lengths=[2, 3], probabilities=[[1, 0], [0.5, 0.5]], token_attention=[[1, 0], [0.2, 0.5, 0.3]])
    b = prediction_set(2, lengths=[2, 3], probabilities=[[0, 1], [0.5, 0.5]], token_attention=[[0, 1], [0.2, 0.5, 0.3]])
    assert compare(a, a)[["tvd", "jsd"]].to_numpy().max() == pytest.approx(0, abs=1e-15)
    table = compare(a, b)
    assert list(table.tvd) == pytest.approx([1, 0]) and list(table.jsd) == pytest.approx([np.log(2), 0], abs=1e-15)


def test_compare_refuses_other_rows_lengths_and_labels():
    a = prediction_set()
    for other in (a.select(range(39)), a.select([*range(1, 40), 0]), prediction_set(row=np.arange(40) + 1)):
        with pytest.raises(InputError, match=f"have 40 and {len(other)} rows and not the same ones .* the same split"):
            compare(a, other)
    lengths = np.arange(40) % 9
    lengths[7] += 2
    with pytest.raises(InputError, match=r"Row 7 has 7 tokens in one prediction set and 9 in the other: .* tokenizer"):
        compare(a, prediction_set(lengths=lengths))
    with pytest.raises(InputError, match=r"have the labels no, yes and yes, no: .* in the same order"):
        compare(prediction_set(names=["no", "yes"]), prediction_set(names=["yes", "no"]))
    with pytest.raises(InputError, match="have 2 and 3 labels: compare models with the same labels"):
        compare(a, prediction_set(classes=3))


def test_binning_by_the_largest_weight_and_the_predicted_label():
    chosen = prediction_set(
        6,
        lengths=[2, 1, 0, 4, 2, 2],
        probabilities=[[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7], [0.5, 0.5], [0.5, 0.5]],
        # The last one has special tokens and no other.
        token_attention=[[0.5, 0.5], [1], [], [0.25] * 4, [0.6, 0.4], [0, 0]],
        names=["bad", "good"],
    )
    binned = binning(chosen)
    np.testing.assert_allclose(binned.max_attention, [0.5, 1, np.nan, 0.25, 0.6, np.nan], atol=1e-7)
    bins = ["0.25-0.5", "0.75-1", np.nan, "0-0.25", "0.5-0.75", np.nan]
    assert binned.max_attention_bin.astype(object).equals(pd.Series(bins, dtype=object))
    assert binned.predicted_label.tolist() == ["bad", "good", "good", "good", "bad", "bad"]
    plain = binning(chosen.cast_column("label", datasets.Value("int64")))
    assert plain.predicted_label.tolist() == ["0", "1", "1", "1", "0", "0"]


def test_medians_by_bin():
    instances = pd.DataFrame(
        {
            "max_attention_bin": pd.Categorical(["low", "low", "low", "high", None], ["low", "mid", "high"]),
            "predicted_label": ["a", "a", "b", "a", "b"],
            "tvd": [0.1, 0.3, 0.5, 0.7, 0.9],
        }
    )
    table = by_bin(instances, "tvd")
    assert table.columns.tolist() == ["max_attention_bin", "label", "tvd_median", "n"]
    assert table.to_numpy().tolist() == [
        ["high", "a", 0.7, 1],
        ["high", "all", 0.7, 1],
        ["low", "a", pytest.approx(0.2), 2],
        ["low", "b", 0.5, 1],
        ["low", "all", 0.3, 3],
        ["all", "all", 0.4, 4],
    ]


def test_padded_attention():
    attention, lengths = padded_attention(
        prediction_set(3, lengths=[1, 0, 3], token_attention=[[1], [], [0.25, 0.5, 0.25]])
    )
    assert attention.tolist() == [[1, 0, 0], [0, 0, 0], [0.25, 0.5, 0.25]] and lengths.tolist() == [1, 0, 3]
    chosen = prediction_set().select([8, 3, 30])
    attention, lengths = padded_attention(chosen)
    assert lengths.tolist() == [8, 3, 3]
    for row, length, expected in zip(attention.numpy(), lengths, chosen["token_attention"], strict=True):
        np.testing.assert_allclose(row[:length], expected, atol=1e-6)


# Scores


def test_scores_of_two_labels():
    predictions = prediction_set(seed=3)
    labels, probabilities = np.arange(40) % 2, np.array(predictions["probabilities"][:])
    predicted = probabilities.argmax(1)
    for name, positive in ((None, 1), ("label 1", 1), ("label 0", 0)):
        result = scores(predictions, name)
        assert list(result) == ["accuracy", "f1", "roc_auc", "n"] and result["n"] == 40
        assert result["accuracy"] == accuracy_score(labels, predicted)
        assert result["f1"] == f1_score(labels, predicted, pos_label=positive)
        assert result["roc_auc"] == pytest.approx(roc_auc_score(labels == positive, probabilities[:, positive]))


def test_scores_of_more_labels():
    predictions = prediction_set(60, classes=4, seed=3)
    labels, probabilities = np.arange(60) % 4, np.array(predictions["probabilities"][:], np.float64)
    result = scores(predictions, None)
    assert result["f1"] == f1_score(labels, probabilities.argmax(1), average="macro")
    each = [roc_auc_score(labels == label, probabilities[:, label]) for label in range(4)]
    assert result["roc_auc"] == pytest.approx(np.mean(each), abs=1e-6)


def test_positive_label():
    two, three = prediction_set(names=["bad", "good"]), prediction_set(classes=3)
    assert [positive_index(two, name) for name in (None, "bad", "good")] == [1, 0, 1]
    assert positive_index(three, None) is None
    with pytest.raises(InputError, match="`positive_label` great is no label of this dataset: take one of bad, good"):
        scores(two, "great")
    with pytest.raises(InputError, match="`positive_label` is for two labels; this dataset has 3 and gets macro F1"):
        scores(three, "label 1")


@pytest.mark.parametrize(("classes", "labels"), [(2, [0] * 40), (2, [1] * 40), (3, [0, 2] * 20), (3, [1] * 40)])
def test_the_auc_is_undefined_where_a_label_does_not_occur(recwarn, classes, labels):
    result = scores(prediction_set(classes=classes, labels=labels), None)
    assert np.isnan(result["roc_auc"])
    assert 0 <= result["f1"] <= 1 and 0 < result["accuracy"] < 1
    assert not recwarn


def test_a_model_that_never_predicts_the_positive_label(recwarn):
    result = scores(prediction_set(probabilities=[[0.9, 0.1]] * 40), None)
    assert (result["f1"], result["accuracy"], result["roc_auc"]) == (0, 0.5, 0.5)
    assert not recwarn


# Bootstrap


@pytest.mark.parametrize("classes", [2, 5])
def test_f1_scores_equal_sklearn(classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 60)
    predicted = np.where(rng.random((3, 60)) < 0.6, labels, rng.integers(0, classes, (3, 60)))
    weights = rng.multinomial(60, np.full(60, 1 / 60), size=7).astype(float)
    for positive in [None, *range(classes)]:
        found = f1_scores(labels, predicted, weights, positive)
        assert found.shape == (7, 3)
        for r in range(7):
            rows = np.repeat(np.arange(60), weights[r].astype(int))
            for s in range(3):
                pair = labels[rows], predicted[s, rows]
                if positive is None:
                    expected = f1_score(*pair, average="macro", labels=range(classes), zero_division=0)
                else:
                    expected = f1_score(*pair, average=None, labels=[positive], zero_division=0)[0]
                assert found[r, s] == pytest.approx(expected, abs=1e-12)


def test_macro_f1_of_a_model_does_not_depend_on_the_others():
    labels = np.array([0, 0, 1, 1, 1, 0])
    predicted = np.array([[0, 0, 1, 1, 0, 1], [0, 2, 1, 1, 1, 0]])  # only the second says 2, which nobody is
    found = f1_scores(labels, predicted, np.ones((1, 6)), None)[0]
    assert found == pytest.approx([f1_score(labels, row, average="macro", zero_division=0) for row in predicted])


def test_f1_of_a_label_nobody_has_or_predicts():
    assert f1_scores(np.zeros(4, int), np.zeros((2, 4), int), np.ones((1, 4)), 1).tolist() == [[0, 0]]


def classifiers(rng, labels, accuracies, shared=0.0):
    """(S, N) predictions, right with the given probabilities; a share of the texts is as hard for all."""
    hard = rng.random(len(labels)) < shared
    luck = np.where(hard, rng.random(len(labels)), rng.random((len(accuracies), len(labels))))
    return np.where(luck < np.array(accuracies)[:, None], labels, 1 - labels)


def test_f1_difference():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    a, b = classifiers(rng, labels, [0.9, 0.91, 0.89]), classifiers(rng, labels, [0.7, 0.72, 0.71, 0.7])
    found = f1_difference(labels, a, b, 1, seed=0)
    expected = np.mean([f1_score(labels, row) for row in a]) - np.mean([f1_score(labels, row) for row in b])
    assert found.estimate == pytest.approx(expected, abs=1e-12)
    assert 0.1 < found.low < found.estimate < found.high < 0.3
    assert found == f1_difference(labels, a, b, 1, seed=0)
    assert found != f1_difference(labels, a, b, 1, seed=1)
    turned = f1_difference(labels, b, a, 1, seed=0)
    assert turned.estimate == -found.estimate
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low), abs=0.02)


def test_f1_difference_of_the_same_models_is_zero_within_the_spread_of_models():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    models = np.where(rng.random((4, 300)) < [[0.6], [0.7], [0.8], [0.9]], labels, 0)
    found = f1_difference(labels, models, models, None, seed=0)
    assert found.estimate == 0 and found.low < -0.05 and found.high > 0.05
    # A model and its copies: no source of variance is left.
    assert f1_difference(labels, models[[0, 0]], models[[0, 0]], None, seed=0) == (0, 0, 0)


def test_the_interval_of_two_models_stays_a_difference_of_f1():
    labels = np.arange(40) % 2
    constant = np.array([[0] * 40, [1] * 40])
    found = f1_difference(labels, constant, labels[None], 1, seed=0, fixed_b=True)
    assert found.low == -1 and found.estimate == pytest.approx(1 / 3 - 1) and found.high <= 1


def test_many_instances_are_resampled_in_parts():
    values = np.random.default_rng(0).random((2, 60_000))
    found = mean_difference(values, values[:1], 0, 1.0, resamples=100, fixed_b=True)
    assert found.estimate == pytest.approx(values.mean() - values[0].mean())
    assert found.low < found.estimate < found.high


def test_mean_difference_over_instances_alone_is_the_normal_interval():
    """With models that are all alike only the instances are left to resample."""
    values = np.random.default_rng(0).normal([[0.3], [0.0]], size=(2, 500))
    found = mean_difference(values[[0, 0]], values[[1, 1]], 0, 1.0)
    difference = values[0] - values[1]
    error = difference.std(ddof=1) / np.sqrt(500)
    assert found.estimate == pytest.approx(difference.mean())
    assert found.low == pytest.approx(difference.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(difference.mean() + 1.96 * error, abs=0.15 * error)


def test_superiority():
    a, b = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[1.0, 1.0]])
    # Within the instance: 1 = 1, 2 > 1, 3 > 1, 0 < 1.
    assert superiority(a, b) == (0.5 + 1 + 1 + 0) / 4
    assert superiority(b, a) == 1 - superiority(a, b)


@pytest.mark.parametrize("models", [3, 5])
def test_the_interval_covers_the_true_difference(models):
    """Models drawn anew, of accuracies that vary, on texts drawn anew that are partly hard for all of them."""
    rng, covered, runs = np.random.default_rng(models), 0, 300
    truth = 0.0
    for run in range(runs):
        labels = rng.integers(0, 2, 200)
        accuracies = np.clip(rng.normal(0.8, 0.04, 2 * models), 0, 1)
        predicted = classifiers(rng, labels, accuracies, shared=0.5)
        found = f1_difference(labels, predicted[:models], predicted[models:], 1, seed=run, resamples=500)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / runs <= 0.99
