"""Splits and samples that are drawn from train."""

import logging

import datasets
import numpy as np
import pytest
from helpers.tables import failure, frame, write

from hf_attn_faith.data.sources import load_text_classification


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def test_splitting_off_is_stratified_disjoint_seeded_and_said(tmp_path, caplog):
    table = frame(200, label=["rare"] * 20 + ["common"] * 180)
    folder = write(tmp_path / "data", train=table)
    data = load_text_classification(folder, test_fraction=0.2)
    assert data.num_rows == {"train": 144, "validation": 16, "test": 40}
    assert caplog.messages == [
        "There is no test split: 40 of the 200 texts of train become one, with seed 42.",
        "There is no validation split: 16 of the 160 texts of train become one, with seed 42.",
    ]
    for split in data.values():
        assert np.mean(np.array(split["label"]) == 1) == pytest.approx(0.1, abs=0.03)
    assert len({text for split in data.values() for text in split["text"]}) == 200
    again, other = (load_text_classification(folder, test_fraction=0.2, seed=seed) for seed in (42, 1))
    assert again["test"]["text"][:] == data["test"]["text"][:] != other["test"]["text"][:]


def test_a_sample_of_train_leaves_the_other_splits_alone(tmp_path, caplog):
    caplog.set_level(logging.INFO, "hf_attn_faith")
    folder = write(tmp_path / "data", train=frame(100, classes=4), test=frame(4))
    whole, sample = (load_text_classification(folder, max_train_samples=number) for number in (None, 10))
    assert sample.num_rows == {"train": 10, "validation": 10, "test": 4}
    assert set(sample["train"]["label"]) == {0, 1, 2, 3}
    assert sample["validation"].to_list() == whole["validation"].to_list()
    assert set(sample["train"]["text"]) <= set(whole["train"]["text"])
    assert "train: 10 of 90 texts drawn with seed 42." in caplog.messages
    assert load_text_classification(folder, max_train_samples=1000).num_rows["train"] == 90


def test_every_label_stays_in_train(tmp_path):
    table = frame(21, label=["a"] * 10 + ["b"] * 10 + ["c"])
    data = load_text_classification(write(tmp_path / "data", train=table, test=table), validation_fraction=0.8)
    assert set(data["train"]["label"]) == {0, 1, 2}


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_fractions(fraction):
    assert (
        failure("planted", validation_fraction=fraction) == f"`validation_fraction` {fraction} is not between 0 and 1."
    )
    assert failure("planted", test_fraction=fraction) == f"`test_fraction` {fraction} is not between 0 and 1."


def test_splits_that_cannot_be_made(tmp_path):
    folder = write(tmp_path / "a", train=frame(20))
    assert failure(folder) == f"{folder} has no test split with labels: give `test_fraction` to split one off train."
    folder = write(tmp_path / "b", train=frame(20), test=frame(4))
    ending = "cannot be split off train, where one text of every label has to stay: give another share or more texts."
    assert failure(folder, validation_fraction=0.01) == f"validation_fraction 0.01 of 20 texts {ending}"
    assert failure(folder, validation_fraction=0.99) == f"validation_fraction 0.99 of 20 texts {ending}"
    assert failure(folder, max_train_samples=1) == "max_train_samples 1 leaves no text of some label: give more."


def test_a_sample_of_test_leaves_the_other_splits_alone(tmp_path):
    folder = write(tmp_path / "data", train=frame(100, classes=4), test=frame(40, classes=4))
    whole, sample = (load_text_classification(folder, max_test_samples=number) for number in (None, 8))
    assert sample.num_rows == {"train": 90, "validation": 10, "test": 8}
    assert sample["train"].to_list() == whole["train"].to_list()
    assert sorted(sample["test"]["label"]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert failure(folder, max_test_samples=2) == "max_test_samples 2 leaves no text of some label: give more."
