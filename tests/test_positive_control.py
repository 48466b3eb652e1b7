"""`planted` shows what a positive control must: weights on the deciding words help, weights kept off them harm."""

import datasets
import pytest

from hf_attn_faith.analyses.scores import scores
from hf_attn_faith.arguments import ClassifierArguments, DataArguments
from hf_attn_faith.data.preparation import prepare
from hf_attn_faith.prediction import predict
from hf_attn_faith.training.classification import classifier_trainer


@pytest.fixture(scope="module")
def planted():
    return prepare(DataArguments(dataset_name="planted", max_train_samples=800))


def accuracy_of_guided_mlp(planted, tmp_path, guide):
    splits, tokenizer = planted

    def guided(split):
        if guide is None:
            return splits[split]
        attention = splits[split][f"{guide}_attention"][:]
        return splits[split].add_column(
            "imposed_attention", attention, feature=datasets.List(datasets.Value("float32"))
        )

    trainer = classifier_trainer(
        "mlp",
        "uniform" if guide is None else "imposed",
        guided("train"),
        guided("validation"),
        tokenizer,
        ClassifierArguments(embedding_size=32, hidden_size=32, num_train_epochs=4, learning_rate=1e-2),
        str(tmp_path),
        seed=0,
        disable_tqdm=True,
    )
    trainer.train()
    return scores(predict(trainer.model, guided("test"), progress=False), None)["accuracy"]


def test_a_guide_on_the_rationale_helps_and_one_kept_off_it_harms(planted, tmp_path):
    accuracy = {
        guide: accuracy_of_guided_mlp(planted, tmp_path, guide) for guide in ("rationale", None, "off_rationale")
    }
    assert accuracy["rationale"] > 0.98
    assert 0.58 < accuracy[None] < 0.8
    assert 0.42 < accuracy["off_rationale"] < 0.58
