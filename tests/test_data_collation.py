import time

import datasets
import numpy as np
import pytest
import torch

from hf_attn_faith.data.collation import AttentionCollator, refuse_padding
from hf_attn_faith.errors import InputError

ROWS = [
    {
        "row": 7,
        "text": "a b c",
        "input_ids": [5, 6, 7],
        "attention_mask": [1, 1, 1],
        "label": 1,
        "length": 3,
        "imposed_attention": [0.5, 0.25, 0.25],
        "rationale_attention": [1.0, 0.0, 0.0],
        "base_token_log_attention": [-1.0, -2.0, -3.0],
        "base_probabilities": [0.2, 0.3, 0.5],
    },
    {
        "row": 8,
        "text": "d",
        "input_ids": [4],
        "attention_mask": [1],
        "label": 0,
        "length": 1,
        "imposed_attention": [1.0],
        "rationale_attention": [1.0],
        "base_token_log_attention": [0.0],
        "base_probabilities": [1.0, 0.0, 0.0],
    },
]


def test_pads_on_the_right_and_keeps_the_models_columns():
    batch = AttentionCollator(pad_token_id=9)(ROWS)
    expected = {
        "input_ids": torch.tensor([[5, 6, 7], [4, 9, 9]]),
        "attention_mask": torch.tensor([[1, 1, 1], [1, 0, 0]]),
        "labels": torch.tensor([1, 0]),
        "imposed_attention": torch.tensor([[0.5, 0.25, 0.25], [1.0, 0.0, 0.0]]),
        "base_token_log_attention": torch.tensor([[-1.0, -2.0, -3.0], [0.0, 0.0, 0.0]]),
        "base_probabilities": torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]),
    }
    assert batch.keys() == expected.keys()
    for name, tensor in expected.items():
        assert batch[name].dtype == tensor.dtype
        assert torch.equal(batch[name], tensor), name


def test_the_same_from_arrays_and_tensors():
    collate = AttentionCollator(0)
    arrays = [{k: np.array(v) if isinstance(v, list) else v for k, v in row.items()} for row in ROWS]
    tensors = [{k: torch.tensor(v) if isinstance(v, list) else v for k, v in row.items()} for row in ROWS]
    for name, tensor in collate(ROWS).items():
        assert torch.equal(collate(arrays)[name], tensor)
        assert torch.equal(collate(tensors)[name], tensor)


def test_mask_is_made_where_rows_have_none():
    batch = AttentionCollator(0)([{"input_ids": [3, 3]}, {"input_ids": []}])
    assert batch.keys() == {"input_ids", "attention_mask"}
    assert batch["attention_mask"].tolist() == [[1, 1], [0, 0]]


def test_labels_under_either_name():
    batch = AttentionCollator(0)([{"input_ids": [3], "labels": torch.tensor(2)}])
    assert batch["labels"].tolist() == [2]


def test_a_batch_of_empty_texts_has_one_column_of_padding():
    row = {"input_ids": [], "attention_mask": [], "label": 0, "imposed_attention": []}
    batch = AttentionCollator(3)([row, row])
    assert batch["input_ids"].tolist() == [[3], [3]]
    assert batch["attention_mask"].tolist() == [[0], [0]]
    assert batch["imposed_attention"].tolist() == [[0.0], [0.0]]


def test_weights_that_do_not_match_the_tokens_are_refused():
    rows = [
        {"row": 4, "input_ids": [1, 2], "imposed_attention": [1.0]},
        {"row": 5, "input_ids": [1], "imposed_attention": [0.5, 0.5]},
    ]
    with pytest.raises(InputError) as error:
        AttentionCollator(0)(rows)
    message = "The column imposed_attention has 1 values in row 4 of 2 tokens: give one for every token."
    assert str(error.value) == message


def test_is_fast():
    row = {"input_ids": [1] * 400, "attention_mask": [1] * 400, "label": 1, "imposed_attention": [0.0025] * 400}
    collate = AttentionCollator(0)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        collate([row] * 32)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.01  # about 0.001


def test_a_mask_of_the_rows_own_is_kept():
    rows = [{"input_ids": [3, 0], "attention_mask": [1, 0]}, {"input_ids": [4, 5, 6], "attention_mask": [0, 1, 1]}]
    assert AttentionCollator(0)(rows)["attention_mask"].tolist() == [[1, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    ("masks", "row"), [([[1], [1, 1]], None), ([[0, 1], [1]], 0), ([[1], [], [1, 1], [1, 0]], 3), ([[], []], None)]
)
def test_padding_of_the_dataset_is_refused(masks, row):
    dataset = datasets.Dataset.from_dict(
        {"input_ids": [[5] * len(mask) for mask in masks], "attention_mask": masks},
        features=datasets.Features(
            dict.fromkeys(("input_ids", "attention_mask"), datasets.List(datasets.Value("int8")))
        ),
    )
    if row is None:
        refuse_padding(dataset)
    else:
        with pytest.raises(InputError, match=f"Row {row} of the dataset is padded"):
            refuse_padding(dataset)
