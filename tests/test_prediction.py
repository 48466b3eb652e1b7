import math

import datasets
import numpy as np
import pandas as pd
import pytest
import torch

from hf_attn_faith.errors import InputError
from hf_attn_faith.models import (
    LstmAttentionConfig,
    LstmAttentionForSequenceClassification,
    MlpAttentionConfig,
    MlpAttentionForSequenceClassification,
)
from hf_attn_faith.prediction import load_prediction_set, model_outputs, padded_token_logits, predict
from hf_attn_faith.training.classification import new_classifier

CLASSES = {
    "lstm": (LstmAttentionConfig, LstmAttentionForSequenceClassification),
    "mlp": (MlpAttentionConfig, MlpAttentionForSequenceClassification),
}


def model_of(kind="lstm", **settings):
    config_class, model_class = CLASSES[kind]
    model = new_classifier(model_class, config_class(vocab_size=30, embedding_size=8, hidden_size=6, **settings), 0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    return model


def texts(rows=50, seed=0, **columns):
    """Of every length from 0 on, in no order."""
    rng = np.random.default_rng(seed)
    lengths = rng.permutation(rows) % 13
    ids = [rng.integers(1, 30, length).tolist() for length in lengths]
    return datasets.Dataset.from_dict({"input_ids": ids, **columns}).cast_column(
        "input_ids", datasets.List(datasets.Value("int32"))
    )


def one_by_one(model, dataset):
    """Probabilities and token attention of every text, in a batch of its own."""
    for row in dataset:
        columns = {"input_ids": torch.tensor([row["input_ids"]])}
        if "imposed_attention" in row:
            columns["imposed_attention"] = torch.tensor([row["imposed_attention"]])
        with torch.no_grad():
            output = model(**columns, output_attentions=True)
        yield output.logits.softmax(-1)[0].numpy(), output.attentions[0][0, 0, 0].numpy()


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("batch_size", [1, 7, 128])
def test_rows_keep_their_order_and_equal_one_by_one(kind, batch_size):
    model, dataset = model_of(kind).eval(), texts()
    predicted = predict(model, dataset, batch_size, progress=False)
    assert predicted.column_names == ["row", "probabilities", "token_attention"]
    assert predicted["row"][:] == list(range(50))
    assert {0, 1} < {len(ids) for ids in dataset["input_ids"]}
    for row, (probabilities, attention) in zip(predicted, one_by_one(model, dataset), strict=True):
        np.testing.assert_allclose(row["probabilities"], probabilities, atol=1e-6)
        np.testing.assert_allclose(row["token_attention"], attention, atol=1e-6)


def test_everything_sums_to_one():
    dataset = texts()
    predicted = predict(model_of(num_labels=3), dataset, progress=False)
    np.testing.assert_allclose(np.array(predicted["probabilities"][:]).sum(1), 1, atol=1e-6)
    for ids, attention in zip(dataset["input_ids"], predicted["token_attention"], strict=True):
        assert len(attention) == len(ids)
        assert not ids or sum(attention) == pytest.approx(1, abs=1e-6)
        assert len(ids) != 1 or attention == [1]


def test_texts_of_length_0_and_1_alone():
    model = model_of().eval()
    for ids in ([], [3]):
        dataset = datasets.Dataset.from_dict({"input_ids": [ids]}).cast_column(
            "input_ids", datasets.List(datasets.Value("int32"))
        )
        predicted = predict(model, dataset, progress=False)
        assert predicted["token_attention"][0] == [1.0] * len(ids)
        if not ids:  # nothing is pooled
            bias = model.classifier.bias.detach().softmax(-1)
            np.testing.assert_allclose(predicted["probabilities"][0], bias, atol=1e-6)
    empty = predict(model, dataset.select([]), progress=False)
    assert len(empty) == 0 and "token_attention" in empty.column_names


def test_excluded_tokens_get_no_attention():
    model = model_of(excluded_token_ids=[5, 6])
    dataset = datasets.Dataset.from_dict({"input_ids": [[5, 7, 8, 6], [5, 6]]})
    attention = predict(model, dataset, progress=False)["token_attention"][:]
    assert attention[0][0] == attention[0][3] == 0 and sum(attention[0]) == pytest.approx(1, abs=1e-6)
    assert attention[1] == [0, 0]


def test_a_dataset_that_was_padded_when_it_was_tokenised_is_refused():
    dataset = datasets.Dataset.from_dict({"input_ids": [[5, 7], [5, 0], []], "attention_mask": [[1, 1], [1, 0], []]})
    with pytest.raises(InputError, match=r"Row 1 of the dataset is padded .* tokenise without padding"):
        predict(model_of(), dataset, progress=False)
    assert len(predict(model_of(), dataset.select([2, 0]), progress=False)) == 2


@pytest.mark.parametrize("attention_type", ["imposed", "additive"])
def test_imposed_attention_passes_through(attention_type):
    rng = np.random.default_rng(1)
    dataset = texts()
    imposed = [rng.dirichlet(np.ones(len(ids))).tolist() if ids else [] for ids in dataset["input_ids"]]
    dataset = texts(imposed_attention=imposed)
    model = model_of("mlp", attention_type=attention_type).eval()
    predicted = predict(model, dataset, 16, progress=False)
    for given, row in zip(imposed, predicted, strict=True):
        np.testing.assert_allclose(row["token_attention"], given, atol=1e-6)
    for row, (probabilities, _) in zip(predicted, one_by_one(model, dataset), strict=True):
        np.testing.assert_allclose(row["probabilities"], probabilities, atol=1e-6)


def test_an_imposed_model_says_what_it_lacks():
    with pytest.raises(ValueError, match="give forward\\(\\) `imposed_attention`"):
        predict(model_of("mlp", attention_type="imposed"), texts(), progress=False)


def test_rows_and_labels_of_the_dataset_are_taken_over(tmp_path):
    labels = datasets.ClassLabel(names=["negative", "positive"])
    dataset = texts(label=[i % 2 for i in range(50)], row=[100 + i for i in range(50)]).cast_column("label", labels)
    dataset = dataset.shuffle(seed=3)
    predicted = predict(model_of(), dataset, progress=False)
    assert predicted.column_names == ["row", "label", "probabilities", "token_attention"]
    assert predicted["row"][:] == dataset["row"][:] and predicted["label"][:] == dataset["label"][:]
    assert predicted.features["label"] == labels
    assert [len(a) for a in predicted["token_attention"]] == [len(ids) for ids in dataset["input_ids"]]

    predicted.save_to_disk(tmp_path / "set")
    loaded = datasets.load_from_disk(tmp_path / "set")
    assert loaded.features == predicted.features
    assert loaded.to_list() == predicted.to_list()


def test_labels_that_are_plain_numbers():
    predicted = predict(model_of(), texts(label=[i % 2 for i in range(50)]), progress=False)
    assert predicted.features["label"] == datasets.Value("int64")
    assert predicted["label"][:4] == [0, 1, 0, 1]


def test_labels_by_another_name_and_in_another_format():
    rows = texts(labels=[i % 2 == 1 for i in range(50)])
    expected = predict(model_of(), texts(label=[i % 2 for i in range(50)]), progress=False)
    for dataset in (rows, rows.with_format("torch"), rows.with_format("numpy")):
        predicted = predict(model_of(), dataset, progress=False)
        assert predicted["label"][:] == expected["label"][:]
        assert predicted.features == expected.features
        np.testing.assert_allclose(predicted["probabilities"], expected["probabilities"], atol=1e-6)
    partly = texts(label=[None if i == 3 else 1 for i in range(50)])
    assert predict(model_of(), partly, progress=False)["label"][2:5] == [1, None, 1]


def test_what_is_no_encoded_dataset_is_named():
    rows = texts()
    for unfit, message in (
        (rows.to_pandas(), "The dataset is a DataFrame: give a datasets.Dataset"),
        (datasets.DatasetDict(test=rows), "The dataset has the splits test: give one of them"),
        (datasets.Dataset.from_dict({"text": ["good"]}), "no column input_ids, only text: tokenise it"),
        (texts(label=["no", "yes"] * 25), "column label of the dataset holds string values, such as .'no'."),
        (texts(labels=[0.5] * 50), "column labels of the dataset holds float64 values"),
    ):
        with pytest.raises(InputError, match=message):
            predict(model_of(), unfit, progress=False)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_and_the_mode_restored(training):
    model = model_of(dropout=0.5).train(training)
    first, second = (predict(model, texts(), progress=False) for _ in range(2))
    for name in ("probabilities", "token_attention"):
        for a, b in zip(first[name], second[name], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert model.training is training
    with pytest.raises(IndexError):
        predict(model, datasets.Dataset.from_dict({"input_ids": [[31]]}), progress=False)
    assert model.training is training


@pytest.mark.parametrize("batch_size", [7, 25, 50, 51])
def test_batches_are_by_length_and_no_more_than_needed(monkeypatch, batch_size):
    model, shapes = model_of(), []
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda **inputs: shapes.append(tuple(inputs["input_ids"].shape)) or forward(**inputs)
    )
    dataset = texts()
    predict(model, dataset, batch_size, progress=False)
    assert len(shapes) == math.ceil(50 / batch_size)
    assert [rows for rows, _ in shapes] == [batch_size] * (50 // batch_size) + [50 % batch_size] * (50 % batch_size > 0)
    # Longest first: a batch is as wide as its first text.
    lengths = sorted((len(ids) for ids in dataset["input_ids"]), reverse=True)
    assert [width for _, width in shapes] == [max(1, length) for length in lengths[::batch_size]]


def test_raw_outputs_keep_the_logarithm_of_tiny_weights():
    model = model_of()
    with torch.no_grad():
        model.attention_query.weight.mul_(1e3)
    _, log_attention, lengths, *_ = model_outputs(model, texts(), progress=False)
    assert len(log_attention) == lengths.sum()
    assert log_attention.dtype == np.float32 and np.isfinite(log_attention).all()
    assert log_attention.min() < np.log(np.finfo(np.float32).tiny)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("classes", [2, 3])
def test_token_logits_give_the_logits_under_any_attention(kind, classes):
    model = model_of(kind, num_labels=classes, excluded_token_ids=[5]).eval()
    dataset = texts()
    predicted = predict(model, dataset, 7, progress=False, token_logits=True)
    logits, mask = padded_token_logits(predicted)
    assert logits.shape == (50, 12, classes) and logits.isfinite().all()
    rng = np.random.default_rng(1)
    for row, ids in enumerate(dataset["input_ids"]):
        attendable = np.array(ids) != 5
        assert mask[row].numpy()[: len(ids)].tolist() == attendable.tolist() and not mask[row, len(ids) :].any()
        if attendable.any():
            attention = np.zeros(len(ids))
            attention[attendable] = rng.dirichlet(np.ones(attendable.sum()))
            with torch.no_grad():
                output = model(torch.tensor([ids]), imposed_attention=torch.tensor(attention[None])).logits[0]
            np.testing.assert_allclose(attention @ logits[row, : len(ids)].numpy(), output, atol=1e-4)


def test_token_logits_need_a_linear_classify():
    class Squashing(LstmAttentionForSequenceClassification):
        def classify(self, hidden, token_attention):
            return torch.tanh(super().classify(hidden, token_attention))

    model = Squashing(model_of().config)
    model.load_state_dict(model_of().state_dict())
    with pytest.raises(ValueError, match=r"Squashing.classify is not linear after pooling: .* cannot be made"):
        predict(model, texts(), progress=False, token_logits=True)


DUMP = pd.DataFrame(
    {
        "probabilities": [[0.25, 0.75], [1.0, 0.0], [0.5, 0.5], [0.5, 0.5]],
        # A text without tokens, and one of special tokens alone.
        "token_attention": [[0.5, 0.5], [], [0.2, 0.3, 0.5], [0.0, 0.0]],
    }
)


def write_dump(table, path):
    match path.suffix:
        case ".parquet":
            table.to_parquet(path)
        case ".jsonl":
            table.to_json(path, orient="records", lines=True)
        case _:
            datasets.Dataset.from_dict(table.to_dict("list")).save_to_disk(path)
    return path


@pytest.mark.parametrize("name", ["set", "set.parquet", "set.jsonl"])
def test_a_prediction_set_made_by_anybody(tmp_path, name):
    loaded = load_prediction_set(write_dump(DUMP, tmp_path / name))
    assert loaded["row"][:] == [0, 1, 2, 3]
    assert loaded["probabilities"][:] == DUMP.probabilities.tolist()
    assert loaded["token_attention"][:] == DUMP.token_attention.tolist()
    own = load_prediction_set(write_dump(DUMP.assign(row=[7, 8, 9, 5]), tmp_path / f"own-{name}"))
    assert own["row"][:] == [7, 8, 9, 5]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("token_attention", [0.5, 0.6, 0.2], "row 2: `token_attention` sums to 1.3, not to 1."),
        ("token_attention", [1.5, -0.5, 0], "row 2: `token_attention` has a value that is negative or not finite."),
        ("token_attention", None, "row 2: `token_attention` is no list of numbers."),
        ("probabilities", [0.5, None], "row 2: `probabilities` has a value that is negative or not finite."),
        ("probabilities", [], "row 2: `probabilities` is empty."),
        ("probabilities", [0.2, 0.3, 0.5], " has rows with different numbers of `probabilities`"),
    ],
)
def test_a_row_that_is_not_of_probabilities_is_named(tmp_path, column, value, message):
    table = DUMP.astype(object)
    table.at[2, column] = value
    with pytest.raises(InputError) as error:
        load_prediction_set(write_dump(table, tmp_path / "set.parquet"))
    assert f"{tmp_path}/set.parquet" in str(error.value) and message in str(error.value)


@pytest.mark.parametrize("name", ["set", "set.parquet", "set.jsonl"])
def test_a_prediction_set_without_rows(tmp_path, name):
    if name == "set.jsonl":
        (tmp_path / name).write_text("")
    else:
        write_dump(DUMP[:0], tmp_path / name)
    with pytest.raises(InputError, match=f"{name} (holds no rows|cannot be read as a prediction set .Empty)"):
        load_prediction_set(tmp_path / name)


def test_what_is_no_prediction_set(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.parquet").write_text("no")
    (tmp_path / "set.txt").write_text("no")
    with pytest.raises(InputError, match=r"absent.jsonl does not exist"):
        load_prediction_set(tmp_path / "absent.jsonl")
    for name in ("empty", "broken.parquet"):
        with pytest.raises(InputError, match=f"{name} cannot be read as a prediction set"):
            load_prediction_set(tmp_path / name)
    with pytest.raises(InputError, match=r"set.txt is no directory and no .parquet, .json or .jsonl file"):
        load_prediction_set(tmp_path / "set.txt")
    with pytest.raises(InputError, match="no column `token_attention`, only probabilities, weights: "):
        load_prediction_set(write_dump(DUMP.rename(columns={"token_attention": "weights"}), tmp_path / "set.parquet"))
    splits = datasets.DatasetDict(test=datasets.Dataset.from_dict(DUMP.to_dict("list")))
    splits.save_to_disk(tmp_path / "splits")
    with pytest.raises(InputError, match=r"holds several splits: give one of .*splits.test"):
        load_prediction_set(tmp_path / "splits")
