import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from hf_attn_faith.data.planted import CUES, OPINIONS, planted
from hf_attn_faith.errors import InputError


@pytest.fixture(scope="module")
def data():
    return planted()


def test_sizes_balance_and_columns(data):
    assert data.num_rows == {"train": 2000, "validation": 400, "test": 800}
    for split in data.values():
        assert split.column_names == ["text", "label", "rationale"]
        assert split.features["label"].names == ["negative", "positive"]
        assert np.mean(split["label"]) == 0.5
    words = [len(text.split()) for text in data["train"]["text"]]
    assert 25 <= np.mean(words) <= 40


def test_the_rationale_is_the_verdicts_opinion(data):
    for row in data["test"]:
        [[start, end]] = row["rationale"]
        assert row["text"][start:end] in OPINIONS[row["label"]].split()
        sentence = row["text"][:start].split(". ")[-1]
        assert sentence.startswith(CUES)
        assert sum(row["text"].count(f"{cue}, ") for cue in CUES) == 1


def test_deterministic_and_splits_differ(data):
    assert planted()["test"].to_list() == data["test"].to_list()
    assert planted(seed=1)["test"]["text"][:] != data["test"]["text"][:]
    assert len(set(data["train"]["text"]) & set(data["test"]["text"])) == 0
    # The size of one split changes nothing in another.
    assert planted(num_train=10)["test"].to_list() == data["test"].to_list()


def bag_of_words_accuracy(data, part):
    vectorizer = CountVectorizer()
    train, test = ([part(row) for row in data[split]] for split in ("train", "test"))
    model = LogisticRegression(C=0.1, max_iter=500).fit(vectorizer.fit_transform(train), data["train"]["label"])
    return model.score(vectorizer.transform(test), data["test"]["label"])


def test_the_rationale_decides_and_nothing_else_leaks(data):
    def inside(row):
        return " ".join(row["text"][start:end] for start, end in row["rationale"])

    def outside(row):
        [[start, end]] = row["rationale"]
        return row["text"][:start] + row["text"][end:]

    assert bag_of_words_accuracy(data, inside) == 1.0
    assert 0.44 < bag_of_words_accuracy(data, outside) < 0.56  # 800 texts: a standard error of 0.018
    # All words: the verdict's opinion is one of four, and a majority of four is right more often than not.
    assert 0.6 < bag_of_words_accuracy(data, lambda row: row["text"]) < 0.75


def test_noise_flips_that_share_of_the_labels():
    clean, noisy = planted(noise=0.0), planted(noise=0.25)
    for split in clean:
        assert clean[split]["text"][:] == noisy[split]["text"][:]
        assert np.mean(np.array(clean[split]["label"]) != np.array(noisy[split]["label"])) == 0.25


def test_number_of_distractors():
    alone = planted(num_train=20, num_validation=2, num_test=2, num_distractors=0)["train"]
    many = planted(num_train=20, num_validation=2, num_test=2, num_distractors=30)["train"]
    assert all(text.count(".") == 2 for text in alone["text"])
    assert all(text.count(".") == 32 for text in many["text"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_test": 1}, "planted: num_test 1 is too small: give at least 2."),
        ({"num_distractors": -1}, "planted: num_distractors -1 is negative: give 0 or more."),
        ({"noise": 1.5}, "planted: noise 1.5 is not in [0, 1]."),
        ({"noise": float("nan")}, "planted: noise nan is not in [0, 1]."),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(InputError) as error:
        planted(**arguments)
    assert str(error.value) == message
