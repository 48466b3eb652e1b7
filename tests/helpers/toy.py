"""A task that a small classifier learns in seconds, and what it is trained with."""

import datasets
import numpy as np

from hf_attn_faith.models import LstmAttentionConfig, LstmAttentionForSequenceClassification
from hf_attn_faith.recipes import AdversarialTrainingArguments, ClassificationTrainingArguments
from hf_attn_faith.training.classification import new_classifier


def toy_dataset(rows=60, seed=0, max_length=9):
    """The label is whether token 2 stands in the text (else 3 does)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, rows)
    texts = []
    for label in labels:
        text = rng.integers(4, 30, rng.integers(1, max_length)).tolist()
        text.insert(rng.integers(len(text) + 1), 2 if label else 3)
        texts.append(text)
    return datasets.Dataset.from_dict(
        {
            "input_ids": texts,
            "attention_mask": [[1] * len(text) for text in texts],
            "label": labels.tolist(),
            "length": [len(text) for text in texts],
            "row": list(range(rows)),
        }
    ).cast_column("label", datasets.ClassLabel(names=["no", "yes"]))


def toy_model(seed=0, **settings):
    config = LstmAttentionConfig(vocab_size=30, embedding_size=8, hidden_size=6, embedding_std=1.0, **settings)
    return new_classifier(LstmAttentionForSequenceClassification, config, seed)


def classification_arguments(path, **settings):
    return ClassificationTrainingArguments(str(path), **{"disable_tqdm": True, "use_cpu": True, **settings})


def adversarial_arguments(path, **settings):
    return AdversarialTrainingArguments(str(path), **{"disable_tqdm": True, "use_cpu": True, **settings})
