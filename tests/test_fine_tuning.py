"""Adversaries of transformers: where they start, what they may change, and that they train."""

import datasets
import pytest
import torch
from helpers.transformers import FAMILIES, TEXTS, small_batch, small_tokenizer, small_transformer

from hf_attn_faith import InputError, ModelConsistentAdversarialTrainer, compare, new_adversary, predict
from hf_attn_faith.arguments import FineTuningArguments
from hf_attn_faith.attention.readout import Readout
from hf_attn_faith.recipes import AdversarialTrainingArguments
from hf_attn_faith.training.fine_tuning import fine_tuning_trainer


@pytest.fixture(scope="module")
def tokenizer():
    return small_tokenizer()


@pytest.fixture(scope="module")
def texts(tokenizer):
    ids = [tokenizer(" ".join(f"w{4 + (7 * n + k) % 30}" for k in range(3 + n % 5)))["input_ids"] for n in range(40)]
    return datasets.Dataset.from_dict(
        {"input_ids": ids, "length": [len(row) for row in ids], "label": [n % 2 for n in range(40)]}
    ).cast_column("label", datasets.ClassLabel(names=["no", "yes"]))


def changed(model, other):
    return {
        name for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True) if not torch.equal(a, b)
    }


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "albert"])
def test_a_warm_start_draws_the_last_layers_query_and_key_alone(family, tokenizer):
    base = Readout(small_transformer(family), tokenizer)
    adversary = new_adversary(base, "warm", seed=1)
    moved = changed(adversary, base.model)
    assert moved
    if family in ("gpt2", "modernbert"):  # one matrix for query, key and value
        (name,) = moved
        rows = dict(adversary.named_parameters())[name] != dict(base.model.named_parameters())[name]
        assert rows.float().mean() == pytest.approx(2 / 3)
    else:
        assert len(moved) in (2, 4)  # relative positions have their own
        assert all("q" in name or "k" in name for name in (part.rsplit(".", 2)[-2] for part in moved))
    assert all(weights.requires_grad for weights in adversary.parameters())


def test_what_shares_its_layers_cannot_start_warm(tokenizer):
    with pytest.raises(InputError, match="shares one layer"):
        new_adversary(Readout(small_transformer("albert"), tokenizer), "warm")


def test_other_starts_need_the_pretrained_model(tokenizer, tmp_path):
    base = Readout(small_transformer("bert", num_labels=3), tokenizer)
    with pytest.raises(InputError, match="`pretrained`"):
        new_adversary(base, "other-seed")
    small_transformer("bert", seed=5).save_pretrained(tmp_path)
    adversary = new_adversary(base, "other-seed", pretrained=str(tmp_path))
    assert adversary.config.num_labels == 3


def test_trainable_layers_counts_from_the_last(tokenizer):
    base = Readout(small_transformer("bert"), tokenizer)
    adversary = new_adversary(base, "warm", trainable_layers=1)
    trainable = {name for name, weights in adversary.named_parameters() if weights.requires_grad}
    assert {".".join(name.split(".")[:4]) for name in trainable} == {
        "bert.encoder.layer.1", "bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight",
        "classifier.bias",
    }  # fmt: skip
    with pytest.raises(InputError, match="`trainable_layers` 3: the model \\(bert\\) has 2"):
        new_adversary(base, "warm", trainable_layers=3)


@pytest.mark.parametrize("family", ["bert", "llama", "deberta-v2"])
def test_an_adversary_moves_attention_and_keeps_the_output(family, tokenizer, texts, tmp_path):
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0} if "bert" in family else {}
    base = Readout(small_transformer(family, **still), tokenizer)
    arguments = AdversarialTrainingArguments(
        str(tmp_path), kl_weight=0.2, num_train_epochs=6, learning_rate=1e-3, disable_tqdm=True, report_to="none"
    )
    trainer = ModelConsistentAdversarialTrainer(
        new_adversary(base, "warm", seed=2), base, arguments, texts, texts, processing_class=tokenizer
    )
    before = trainer.evaluate()
    trainer.train()
    after = trainer.evaluate()
    assert after["eval_loss"] < before["eval_loss"]
    assert after["eval_jsd"] > before["eval_jsd"]
    pair = compare(predict(base, texts, progress=False), predict(trainer.readout, texts, progress=False))
    assert after["eval_tvd"] == pytest.approx(pair.tvd.mean(), abs=1e-4)
    assert after["eval_jsd"] == pytest.approx(pair.jsd.mean(), abs=1e-4)
    assert trainer.model.config.adversarial_attention


def test_a_base_that_is_no_readout_is_told_how(tokenizer, texts, tmp_path):
    model = small_transformer("bert")
    with pytest.raises(InputError, match=r"give Readout\(base_model, tokenizer\)"):
        new_adversary(model)
    with pytest.raises(InputError, match=r"give Readout\(base_model, tokenizer\)"):
        ModelConsistentAdversarialTrainer(model, model, AdversarialTrainingArguments(str(tmp_path)), texts, texts)


def test_a_uniform_readout_is_trained_and_read_as_such(tokenizer, texts, tmp_path):
    small_transformer("bert").save_pretrained(tmp_path / "pretrained")
    settings = FineTuningArguments(fine_tuning_epochs=2, fine_tuning_rate=1e-3)
    trainer = fine_tuning_trainer(
        str(tmp_path / "pretrained"), True, texts, texts, tokenizer, settings, str(tmp_path / "out"), 0,
        disable_tqdm=True, report_to="none",
    )  # fmt: skip
    before = {name: weights.clone() for name, weights in trainer.model.named_parameters()}
    trainer.train()
    attention = predict(Readout(trainer.model, tokenizer), texts, progress=False)["token_attention"][0]
    assert attention[1:-1] == pytest.approx([1 / (len(attention) - 2)] * (len(attention) - 2))
    # Queries and keys of the last layer were never asked.
    moved = {name for name, weights in trainer.model.named_parameters() if not torch.equal(before[name], weights)}
    assert "bert.encoder.layer.0.attention.self.query.weight" in moved
    decayed = 1e-3  # by weight decay alone
    for part in ("query", "key"):
        name = f"bert.encoder.layer.1.attention.self.{part}.weight"
        now = dict(trainer.model.named_parameters())[name]
        assert (now - before[name]).abs().max() < decayed


def test_texts_are_the_same_padded_or_alone(tokenizer):
    readout = Readout(small_transformer("bert"), tokenizer)
    with torch.no_grad():
        together = readout(**small_batch(tokenizer))
        for number, text in enumerate(TEXTS):
            alone = readout(**small_batch(tokenizer, [text]))
            length = alone.token_log_attention.shape[1]
            torch.testing.assert_close(
                together.token_log_attention[number, :length], alone.token_log_attention[0], atol=1e-5, rtol=1e-4
            )
